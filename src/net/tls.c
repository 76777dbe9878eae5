#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where distributions keep the bundle of trusted certificates. One file read at start, instead of
 * OpenSSL's own directory of many, which would be read inside handshakes on an event loop. */
static const char *const system_bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
};

static const char *find_bundle(void)
{
	const char *named = getenv("SSL_CERT_FILE");

	if (named && *named)
		return named;
	for (size_t i = 0; i < sizeof(system_bundles) / sizeof(system_bundles[0]); i++) {
		if (access(system_bundles[i], R_OK) == 0)
			return system_bundles[i];
	}
	return NULL;
}

static bool load_trust(SSL_CTX *context, const char *ca_file, struct str *ret_error)
{
	bool given = ca_file && *ca_file;
	const char *file = given ? ca_file : find_bundle();
	char reason[128];

	if (!file) {
		str_add(ret_error, "no trusted certificates on this machine; install the package "
				   "ca-certificates, or name a ca_file");
		return false;
	}
	if (SSL_CTX_load_verify_file(context, file) == 1)
		return true;
	ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
	str_addf(ret_error, "no certificates could be read from %s: %s", file, reason);
	ERR_clear_error();
	return false;
}

/* The slot rides on the connection object, so that one context can serve all workers. */
static int slot_index(void)
{
	static int index = -1;

	if (index < 0) /* first called at start, before there are threads */
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return index;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_session *slot = SSL_get_ex_data(ssl, slot_index());

	if (!slot)
		return 0;
	SSL_SESSION_free(slot->session);
	slot->session = session; /* returning 1 keeps the reference */
	return 1;
}

SSL_CTX *tls_context_new(const char *ca_file, struct str *ret_error)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (!context)
		abort();
	slot_index();
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	/* Else what was received stays in OpenSSL's buffer, and answers may hold keys. */
	SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_session_cache_mode(
		context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(context, on_new_session);
	if (!load_trust(context, ca_file, ret_error)) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

SSL *tls_connection_new(SSL_CTX *context, const char *host, struct tls_session *slot)
{
	static const unsigned char alpn[] = "\x08http/1.1";
	SSL *ssl = SSL_new(context);
	unsigned char ip[sizeof(struct in6_addr)];

	if (!ssl)
		abort();
	SSL_set_ex_data(ssl, slot_index(), slot);
	if (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host); /* no SNI: RFC 6066, 3 */
	} else {
		SSL_set_tlsext_host_name(ssl, host);
		SSL_set1_host(ssl, host);
	}
	SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1);
	if (slot->session && SSL_SESSION_is_resumable(slot->session))
		SSL_set_session(ssl, slot->session);
	return ssl;
}

void tls_session_fini(struct tls_session *slot)
{
	SSL_SESSION_free(slot->session);
	slot->session = NULL;
}

int tls_alert_of(unsigned long code)
{
	int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;

	return code && ERR_GET_LIB(code) == ERR_LIB_SSL && alert > 0 && alert < 256 ? alert : 0;
}

const char *tls_code_text(unsigned long code)
{
	static _Thread_local char text[128];
	int alert = tls_alert_of(code);
	const char *words;

	if (!alert)
		return code ? ERR_reason_error_string(code) : NULL;
	words = SSL_alert_desc_string_long(alert); /* knows those of TLS 1.2 */
	if (str_same(words, "unknown"))
		words = ERR_reason_error_string(code);
	snprintf(text, sizeof(text), "alert %d: %s", alert, words ? words : "");
	return text;
}

void tls_describe_failure(const SSL *ssl, unsigned long code, int error_number, struct failure *ret)
{
	long verify = SSL_get_verify_result(ssl);
	const char *reason = tls_code_text(code);

	if (verify != X509_V_OK) {
		failure_set(ret, PHASE_TLS, ERROR_TLS_CERTIFICATE_ERROR,
			X509_verify_cert_error_string(verify));
	} else if (tls_alert_of(code)) {
		failure_set(ret, PHASE_TLS, ERROR_TLS_ALERT_RECEIVED, reason);
	} else if (reason && ERR_GET_REASON(code) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		failure_set(ret, PHASE_TLS, ERROR_TLS_PROTOCOL_ERROR, reason);
	} else {
		failure_set(ret, PHASE_TLS, ERROR_CONNECTION_TERMINATED,
			error_number ? strerror(error_number) : "closed during the TLS handshake");
	}
}
