#pragma once

/* One DNS question to one name server: a packet out, a packet back. By evdns, whose traps are kept
 * in here: each question has an evdns of its own, so that the code is exact, the source port is
 * random, and nothing is shared, rotated, marked down or probed. */

#include <stddef.h>

#include "base/address.h"
#include "base/clock.h"

struct event_base;
struct question;

enum { QUESTION_LIMIT_MS = 2000 };

struct question_answer {
	int code;              /* DNS_ERR_* of event2/dns.h; < 0: -errno, it could not be sent */
	const void *addresses; /* struct in_addr or in6_addr, as the question's family is */
	size_t count;          /* not 0 with DNS_ERR_NONE */
	msec_t ttl_ms;         /* the addresses' least one */
};

/* The addresses are valid during the call. The question is gone after it. */
typedef void question_on_answer(void *arg, const struct question_answer *answer);

/* Asks for the A (AF_INET) or AAAA (AF_INET6) records of a full name. Ends in one call of
 * `on_answer`, never inside this one, after QUESTION_LIMIT_MS at the latest (DNS_ERR_TIMEOUT). */
struct question *question_start(struct event_base *base, const struct address *server, int family,
	const char *name, question_on_answer *on_answer, void *arg);
/* No callback after this. The loop must turn once more before its base is freed. */
void question_cancel(struct question *question);

/* A code in words: "NXDOMAIN, there is no such name". */
const char *question_code_text(int code);
