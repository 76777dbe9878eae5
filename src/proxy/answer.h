#pragma once

/* An upstream's answer as the exchange is told of it: its head, what of the body is held, and what
 * it really says: an error that comes with status 200 gets the status that it names. */

#include <event2/buffer.h>
#include <stdbool.h>

#include "net/transport.h"
#include "policy/soft_error.h"

struct stream;

struct answer {
	int status, received_status; /* the second as the upstream sent it */
	char *reason;
	struct fields fields;
	struct evbuffer *held; /* the body so far */
	bool complete;         /* nothing follows */
	bool event_stream;     /* events, to be handed on as they come, not to be stored */
	bool own_status; /* andiron made it: the upstream said 2xx, and its error named none */
	struct soft_error said; /* its own words, where it is an error; may be empty */
	char error_code[64];    /* error.code, or what stands for it, of a body that is JSON */
};

/* What was asked for, as far as it tells errors from answers. */
struct answer_expectation {
	bool events;    /* "stream": true, where a stream has a form that is known */
	bool inference; /* what a model says: a POST; to DELETE a mere `message` is success */
};

void answer_init(struct answer *answer);
void answer_fini(struct answer *answer);
void answer_take_head(struct answer *answer, const struct transport_head *head);
/* Is its body in a coding that is not read here? */
bool answer_is_encoded(const struct answer *answer);

/* An answer that ended in an orderly way and yet lacks its end: without a length the JSON alone
 * can tell. */
bool answer_is_cut(const struct answer *answer, const struct answer_expectation *expected);
/* Everything that will be known is: looks for the error in it. */
void answer_judge(struct answer *answer, const struct answer_expectation *expected);
/* The stream began with an error, or with something that is no event: that is the answer. */
void answer_become_error(struct answer *answer, struct stream *stream);
