#pragma once

/* The inside of an exchange, for its own four files and nobody else: exchange.c has its life and
 * the client's side, exchange_turn.c its turn at the upstream, exchange_try.c the attempts,
 * exchange_answer.c what the client gets. */

#include "proxy/attempt.h"
#include "proxy/backends.h"
#include "proxy/client.h"
#include "proxy/created.h"
#include "proxy/exchange.h"
#include "proxy/exchange_state.h"
#include "proxy/hedge.h"
#include "proxy/patience.h"
#include "proxy/record.h"
#include "proxy/relay.h"
#include "proxy/request.h"
#include "proxy/tries.h"
#include "proxy/waiting.h"

struct reply;

struct exchange {
	TAILQ_ENTRY(exchange) entry;
	enum exchange_state state;
	struct server *server;
	struct backends *backends; /* of the configuration that it began with */
	struct client *client;     /* NULL: gone, or its answer is out */
	struct request request;
	struct waiting waiting;
	struct attempt *attempt; /* NULL: none is running */
	struct hedge hedge;      /* another one beside it */
	struct ticket *place;    /* of `attempt`: waiting's, or what was the hedge's */
	struct relay relay;
	struct timer *timer; /* between attempts */
	msec_t resumes;      /* when that ends */
	struct tries tries;
	struct {
		struct attempt *attempt; /* whose answer it is; NULL: there is none */
		struct answer *answer;
	} last; /* the last whole answer, until there is a better one */
	struct patience patience;
	bool head_sent; /* the client has its 200 and comments, and nothing of an upstream's */
	msec_t deadline;
	bool drains; /* that is the drain's */
	struct created created;
	struct record record;
};

/* ---- exchange.c */

/* The only place where the state changes. */
void exchange_enter(struct exchange *exchange, enum exchange_state next);
void exchange_drop_attempt(struct exchange *exchange);
/* At the upstream: nothing of this exchange is under way there any more. */
void exchange_yield_places(struct exchange *exchange);
/* What the last attempt brought is kept: it may be all that there will be. `from` NULL or not
 * whole: there is nothing to keep. */
void exchange_keep_last(struct exchange *exchange, struct answer *from);
void exchange_drop_last(struct exchange *exchange);
void exchange_finish(struct exchange *exchange);

/* ---- exchange_turn.c */

/* Asks for a turn; an attempt follows, or its refusal. */
void exchange_admit(struct exchange *exchange);
/* The attempts are used up, or the time will be: asks the route's fallback. What `from` says is
 * kept, should there be no turn for that either. False: there is none. */
bool exchange_fall_back(struct exchange *exchange, struct answer *from);
void exchange_on_turn(void *arg, enum waiting_end end);

/* ---- exchange_try.c */

void exchange_try(struct exchange *exchange);
void exchange_on_timer(void *arg);
void exchange_on_late(void *arg);

/* ---- exchange_answer.c: each ends the attempts, and the exchange may be over when it returns. */

/* The commit point: from here on nothing is retried. */
void exchange_commit(struct exchange *exchange, struct answer *from);
/* The upstream has said all. */
void exchange_end_answer(struct exchange *exchange);
/* A begun answer cannot be finished: the client is told so in the only ways left. */
void exchange_break_off(struct exchange *exchange);
/* andiron's own error, of what the record says; `how` has what differs from that. */
void exchange_give_up_with(struct exchange *exchange, struct reply *how);
void exchange_give_up(struct exchange *exchange);
void exchange_refuse(struct exchange *exchange, const struct refusal *refusal);
/* The worker ends before this request can be answered. */
void exchange_turn_away(struct exchange *exchange);
void exchange_note_draining(struct exchange *exchange);
/* The line of an attempt behind which none follows. */
void exchange_log_broken(const struct exchange *exchange);
/* The same for an attempt that ran when somebody else ended the exchange. */
void exchange_log_abandoned(struct exchange *exchange);
