#include "proxy/exchange_state.h"

const char *exchange_state_name(enum exchange_state state)
{
	static const char *const names[] = {
#define STATE_NAME(id, text) #id,
		EXCHANGE_STATES(STATE_NAME)
#undef STATE_NAME
	};

	return names[state];
}

bool exchange_state_may_follow(enum exchange_state now, enum exchange_state next)
{
	static const bool allowed[][EXCHANGE_ENDED + 1] = {
		[EXCHANGE_ADMITTING] = {[EXCHANGE_TRYING] = true,
			[EXCHANGE_RELAYING] = true,
			[EXCHANGE_BREAKING] = true,
			[EXCHANGE_ANSWERING] = true,
			[EXCHANGE_ENDED] = true},
		[EXCHANGE_TRYING] = {[EXCHANGE_TRYING] = true,
			[EXCHANGE_ADMITTING] = true,
			[EXCHANGE_BACKING_OFF] = true,
			[EXCHANGE_RELAYING] = true,
			[EXCHANGE_BREAKING] = true,
			[EXCHANGE_ANSWERING] = true,
			[EXCHANGE_ENDED] = true},
		[EXCHANGE_BACKING_OFF] = {[EXCHANGE_ADMITTING] = true,
			[EXCHANGE_BREAKING] = true,
			[EXCHANGE_ANSWERING] = true,
			[EXCHANGE_ENDED] = true},
		[EXCHANGE_RELAYING] = {[EXCHANGE_BREAKING] = true, [EXCHANGE_ENDED] = true},
		[EXCHANGE_BREAKING] = {[EXCHANGE_ENDED] = true},
		[EXCHANGE_ANSWERING] = {[EXCHANGE_ENDED] = true},
		[EXCHANGE_ENDED] = {false},
	};

	return allowed[now][next];
}
