package sensitive

import "strings"

// secretWords reports whether the word, or several words written as one, name a
// secret or personal card data.
func secretWords(s string) bool {
	switch s {
	// Credentials.
	case "password", "passwords", "passwd", "passwds", "pwd", "pw", "passphrase", "passphrases", "passcode", "pass", "userpass", "dbpass",
		"secret", "secrets", "token", "tokens", "credential", "credentials", "cred", "creds",
		"auth", "authorization", "authorisation", "auths", "bearer", "jwt", "jwts", "jws", "saml", "samlresponse", "assertion",
		"cookie", "cookies", "csrf", "xsrf", "otp", "totp", "hotp", "pin", "pincode", "mfacode", "2facode", "facode",
		"authcode", "authorizationcode", "verificationcode", "recoverycode", "recoverycodes", "backupcode", "backupcodes",
		"signature", "signatures", "sig", "hmac", "pepper", "mnemonic", "seedphrase",
		"sessionid", "sessionids", "sessid", "sessionkey", "sessioncookie", "phpsessid", "jsessionid", "sid", "aspsessionid",
		"pem", "jwk", "keyfile", "keystore":
		return true
	// Keys that give access.
	case "apikey", "apikeys", "accesskey", "accesskeys", "privatekey", "privatekeys", "secretkey", "secretkeys", "signingkey", "signingkeys",
		"encryptionkey", "encryptionkeys", "authkey", "authkeys", "masterkey", "sharedkey", "accountkey", "servicekey", "subscriptionkey",
		"storagekey", "deploykey", "functionskey", "clientkey", "appkey", "hostkey", "sshkey", "webhookkey", "ingestkey", "licensekey",
		"hmackey", "symmetrickey", "decryptionkey", "consumerkey", "ssekey", "sasurl", "sas":
		return true
	// URLs that are credentials.
	case "connectionstring", "connstring", "connectionstr", "connstr", "connectionuri", "connectionurl", "dsn", "dsns", "databaseurl", "dburl", "dburi",
		"redisurl", "mongouri", "mongourl", "postgresurl", "amqpurl", "brokerurl", "smtpurl", "databaseuri",
		"webhookurl", "webhookurls", "webhookuri", "hookurl", "slackurl", "magiclink", "resetlink", "reseturl", "presignedurl", "signedurl":
		return true
	// Personal card data, accounts and identities.
	case "cardnumber", "cardnumbers", "cardno", "cardnum", "ccnumber", "ccnum", "ccno", "creditcard", "creditcards", "debitcard", "pan",
		"primaryaccountnumber", "cvv", "cvc", "csc", "cardcode", "securitycode", "cardsecuritycode", "cardverification", "cardverificationvalue",
		"cardexpiry", "cardexpiration", "ccexpiry", "iban", "ibans", "accountnumber", "accountnumbers", "accountno", "acctnumber", "acctno",
		"bankaccount", "routingnumber", "sortcode", "ssn", "ssns", "socialsecurity", "socialsecuritynumber", "nationalid", "nationalidnumber",
		"taxid", "taxnumber", "passportnumber", "passportno", "driverlicense", "driverslicense", "drivinglicence":
		return true
	}
	return false
}

// endsSecret reports whether a word ends with the name of a secret:
// `accesstoken`, `xapikey`.
func endsSecret(s string) bool {
	if len(s) < 7 {
		return secretWords(s)
	}
	s = strings.TrimSuffix(s, "s")
	for _, end := range [...]string{
		"token", "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "privatekey", "secretkey", "signingkey", "authkey",
		"encryptionkey", "sessionid", "sessid", "credential", "authorization", "cookie", "signature", "cardnumber", "accountnumber",
		"webhookurl", "connectionstring",
	} {
		if strings.HasSuffix(s, end) {
			return true
		}
	}
	return false
}

// describesSecret reports whether a name that ends with the word describes a
// secret and does not hold one.
func describesSecret(word string) bool {
	switch word {
	case "id", "ids", "name", "names", "type", "types", "kind", "count", "counts", "total", "limit", "limits", "length", "len", "size", "bytes",
		"expires", "expiry", "expiration", "expired", "ttl", "at", "age", "in", "date", "time", "timestamp", "issued", "created", "updated", "url", "uri",
		"endpoint", "path", "status", "state", "valid", "validity", "enabled", "disabled", "required", "present", "set", "policy", "policies", "method",
		"methods", "scheme", "schemes", "error", "errors", "failed", "failure", "failures", "reason", "version", "algorithm", "alg", "format", "prefix",
		"header", "headers", "field", "fields", "param", "params", "usage", "used", "budget", "cost", "rate", "ratio", "per", "second", "seconds", "minutes",
		"ms", "index", "issuer", "scope", "scopes", "email", "reset", "page", "form", "template", "changed", "rotation", "strength", "provider",
		"source", "position", "level", "max", "min", "result", "check", "verified", "validation", "processed", "window", "rotated":
		return true
	}
	return false
}

// isPredicate reports whether a name that starts with the word says whether
// there is a secret.
func isPredicate(word string) bool {
	switch word {
	case "is", "has", "no", "requires", "require", "required", "allow", "allows", "needs", "uses", "use", "supports", "enable", "disable", "num", "count":
		return true
	}
	return false
}

// isUnitCount reports whether tokens after the word are units of text.
func isUnitCount(word string) bool {
	switch word {
	case "total", "max", "min", "num", "number", "count", "n", "input", "output", "prompt", "completion", "cached", "used", "remaining", "reasoning",
		"avg", "average", "limit", "per", "of", "generated", "consumed", "estimated", "budget", "context", "thinking", "new", "audio", "text":
		return true
	}
	return false
}
