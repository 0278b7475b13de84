const FLAGGED = ['t13d1516h2_8daaf6152771_02713d6af862'];

exports.onExecutePreUserRegistration = async (event, api) => {
  const ja4 = event.security_context?.ja4;
  console.log('fingerprint', ja4);
  if (FLAGGED.includes(ja4)) {
    api.access.deny('suspicious_tls_fingerprint', 'Your TLS fingerprint has been flagged as suspicious');
  }
};
