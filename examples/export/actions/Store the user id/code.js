const axios = require('axios');

exports.onExecutePostUserRegistration = async (event, api) => {
  try {
    await axios.post(event.secrets.USERS_URL, { id: event.user.user_id });
  } catch (error) {
    console.log('not stored', error.message);
  }
};
