/** Of Usher, as in package.json; a test holds the two equal. */
export const VERSION = '0.2.0';
