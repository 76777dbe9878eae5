#pragma once

/* TLS towards upstreams: always verified, chain and name; TLS 1.2 or later; HTTP/1.1 by ALPN;
 * sessions resumed. A context is shared by all workers; a session slot belongs to one. */

#include <openssl/ssl.h>

#include "base/str.h"
#include "policy/failure.h"

/* The last session that a server gave, for the next handshake with it. */
struct tls_session {
	SSL_SESSION *session;
};

/* Reads the trusted certificates; blocks on files: at start only. `ca_file` NULL or empty: the
 * system's. NULL, and why, if they cannot be read. */
SSL_CTX *tls_context_new(const char *ca_file, struct str *ret_error);
/* A connection object for this host (a name or an IP literal), which resumes the slot's session
 * and leaves new ones in it; the slot must outlive it. */
SSL *tls_connection_new(SSL_CTX *context, const char *host, struct tls_session *slot);
void tls_session_fini(struct tls_session *slot);

/* The alert that the peer has sent, if this code is one: its number; else 0. */
int tls_alert_of(unsigned long code);
/* An error code in words; NULL if it says nothing. Valid until the next call of the thread. */
const char *tls_code_text(unsigned long code);

/* Why a handshake failed: `code` is OpenSSL's (0: none), `error_number` the socket's. */
void tls_describe_failure(
	const SSL *ssl, unsigned long code, int error_number, struct failure *ret);
