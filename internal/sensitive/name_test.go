package sensitive

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	for _, name := range strings.Fields(`
		password passwd pwd PASSWORD passPhrase user_password userPassword db.password db-pass password1 password_confirmation
		new_password secret client_secret clientSecret CLIENT_SECRET clientsecret webhook-secret secretKey secret_value
		token access_token accessToken ACCESSTOKEN accesstoken access-token id_token IDToken refreshToken X-Auth-Token token2 oauth2_token
		ToKeN tOkEn api_TOKEN x_csrf_token csrf xsrf-token auth_tokens bearer bearerToken jwt JWT
		api_key apiKey APIKey APIKEY apikey X-Api-Key x_apikey aPi_KeY api.key api[key] access_key aws_secret_access_key privateKey private.key signing_key
		encryption-key subscription-key auth auth_key AUTHKEY proxy_auth authorization Authorization Proxy-Authorization
		cookie Cookie Set-Cookie set_cookie2 session_id sessionId SESSIONID sid connect.sid PHPSESSID JSESSIONID session_token otp totp otp_code pin PIN user_pin
		credential credentials userCredentials creds signature X-OSA-Signature X-Hub-Signature-256 x_signature sig hmac Stripe-Signature
		connection_string connectionString DSN database_url DATABASE_URL redisUrl webhook_url webhookUrl slack.webhook.url
		card_number cardNumber CARDNUMBER pan cvv CVV2 cvc cardCvc iban IBAN account_number accountNumber bank.account.number ssn social_security_number
		credit_card security_code user[password] ｔｏｋｅｎ`) {
		if !Name(name) {
			t.Errorf("%s is not taken for a secret's name", name)
		}
	}
	for _, name := range strings.Fields(`
		total_tokens totalTokens token_count tokenCount max_tokens prompt_tokens completionTokens input_tokens tokens_used token_type tokenType
		token_limit tokens_per_second maxtokens tokenizer tokenization tokenized author authors authority authored authentic secretary secretariat
		key keys keyword key_id keyboard monkey turkey primary_key foreign_key sort_key cache_key id user_id workflow_id agent_id correlation_id sync_id
		session session_count session_timeout_minutes sessions password_policy password_reset_email passwordless signature_version signature_valid auth_method
		cookie_policy cookiecutter has_password is_secret requires_token spin spinning pinned pinterest opinion panel pancake company span expand
		account account_id account_name card card_type card_brand status message error_message name value url callback_url monitoring_url base_url
		description discard postcard ibanez bearing assign design designation sidebar inside consider compass passed pass_rate passenger passport_check
		host method uri client_ip duration request_id user_agent Content-Type Accept-Encoding If-None-Match expiry_date`) {
		if Name(name) {
			t.Errorf("%s is taken for a secret's name", name)
		}
	}
	if !Name(strings.Repeat("a_", 10_000)+"token") || Name(strings.Repeat("token_", 10_000)+"count") {
		t.Error("a long name is not judged by its end")
	}
}

func FuzzName(f *testing.F) {
	f.Add("api_key")
	f.Add("x٠ｔoken\x00[")
	f.Fuzz(func(t *testing.T, name string) {
		if Name(name) != Name("-"+name) && len(name) > 2 && len(name) < maxNameLength {
			t.Errorf("%q: a separator before it changes the judgement", name)
		}
	})
}

func BenchmarkName(b *testing.B) {
	names := []string{"User-Agent", "Accept-Encoding", "workflow_id", "execution_time_ms", "Authorization", "uri"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		Name(names[i%len(names)])
	}
}
