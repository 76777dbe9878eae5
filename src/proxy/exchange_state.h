#pragma once

/* The states of an exchange, and which may follow which. */

#include <stdbool.h>

#define EXCHANGE_STATES(X)                                                                         \
	X(ADMITTING, "in the queue for its turn at the upstream")                                  \
	X(TRYING, "one attempt is running; nothing sent to the client")                            \
	X(BACKING_OFF, "between attempts; the timer runs")                                         \
	X(RELAYING, "past the commit point: the upstream's answer flows")                          \
	X(BREAKING, "the answer cannot be finished; its broken end is on its way")                 \
	X(ANSWERING, "andiron's own answer is on its way")                                         \
	X(ENDED, "answered or abandoned; waits for the reaper")

/*   ADMITTING --> TRYING --> RELAYING --> BREAKING --> ENDED --> (the reaper frees)
 *       ^  |           |                                ^
 *       |  |           +--> BACKING_OFF                 |   from any state: the client left,
 *       +--|-----------+--------+                       |   or has it all
 *          +--> ANSWERING (from any of the first three)-+
 *
 * ADMITTING --> RELAYING: there is no turn any more, and the last answer is handed over.
 * A client that was kept patient has a head already: then BREAKING stands for ANSWERING. */
enum exchange_state {
#define STATE_ENUM(id, text) EXCHANGE_##id,
	EXCHANGE_STATES(STATE_ENUM)
#undef STATE_ENUM
};

const char *exchange_state_name(enum exchange_state state);
bool exchange_state_may_follow(enum exchange_state now, enum exchange_state next);
