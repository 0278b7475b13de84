import type { z } from 'zod';
import type { Profile } from '../../registration/event.ts';
import type { Role, RoleUser } from '../../store/roles.ts';
import type { ROLE, ROLE_LIST } from './schema.ts';

export function roleAnswer({ id, name, description }: Role): z.input<typeof ROLE> {
  return { id, name, ...(description === '' ? {} : { description }) };
}

export function roleListAnswer(roles: Role[], total: number, { start, limit, totals }: { start: number; limit: number; totals: boolean }): z.input<typeof ROLE_LIST> {
  const answered = roles.map(roleAnswer);
  return totals ? { start, limit, total, roles: answered } : answered;
}

export function roleUserAnswer({ id, email, profile }: RoleUser) {
  const { picture, name } = JSON.parse(profile) as Profile;
  return {
    user_id: id,
    ...(email === null ? {} : { email }),
    ...(picture === undefined ? {} : { picture }),
    ...(name === undefined ? {} : { name }),
  };
}
