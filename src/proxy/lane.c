#include "proxy/lane.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "proxy/redact.h"

/* Of a keyed hash nobody can find the key by trying. */
struct digest {
	unsigned char bytes[EVP_MAX_MD_SIZE];
};

static struct digest hash(const void *secret, size_t size, const char *text)
{
	struct digest digest;

	if (!HMAC(EVP_sha256(), secret, (int)size, (const unsigned char *)text, strlen(text),
		    digest.bytes, NULL))
		abort();
	return digest;
}

static uint64_t number_of(const struct digest *digest)
{
	uint64_t number;

	memcpy(&number, digest->bytes, sizeof(number));
	return number;
}

static struct lane *add(struct lanes *lanes, uint64_t id)
{
	struct lane *lane = xcalloc(1, sizeof(*lane));

	lane->id = id;
	TAILQ_INIT(&lane->waiting);
	pacer_init(&lane->pacer);
	TAILQ_INSERT_HEAD(&lanes->list, lane, entry);
	lanes->count++;
	return lane;
}

static void let_go(struct lanes *lanes, struct lane *lane)
{
	TAILQ_REMOVE(&lanes->list, lane, entry);
	lanes->count--;
	free(lane);
}

/* False: all are busy. */
static bool make_room(struct lanes *lanes)
{
	struct lane *lane;

	if (lanes->count < LANES_MAX)
		return true;
	for (lane = TAILQ_LAST(&lanes->list, lane_list); lane;
		lane = TAILQ_PREV(lane, lane_list, entry)) {
		if (lane->tickets == 0 && lane != lanes->other) {
			let_go(lanes, lane);
			return true;
		}
	}
	return false;
}

static struct lane *other(struct lanes *lanes)
{
	if (!lanes->other) {
		lanes->other = add(lanes, 0);
		snprintf(lanes->other->name, sizeof(lanes->other->name), "other");
	}
	return lanes->other;
}

void lanes_init(struct lanes *lanes)
{
	*lanes = (struct lanes){.count = 0};
	TAILQ_INIT(&lanes->list);
	random_bytes(lanes->secret, sizeof(lanes->secret));
}

void lanes_fini(struct lanes *lanes)
{
	struct lane *lane = TAILQ_FIRST(&lanes->list), *next;

	for (; lane; lane = next) {
		next = TAILQ_NEXT(lane, entry);
		free(lane);
	}
	mem_wipe(lanes->secret, sizeof(lanes->secret));
}

struct lane_key lanes_key(const struct lanes *lanes, const char *model, const char *key)
{
	struct digest of_key = hash(lanes->secret, sizeof(lanes->secret), key ? key : "");
	struct digest of_both = hash(&of_key, 32, model ? model : "");

	return (struct lane_key){number_of(&of_key), number_of(&of_both)};
}

struct lane *lanes_find(
	struct lanes *lanes, const struct lane_key *id, const char *model, const char *key)
{
	struct lane *lane;

	for (lane = TAILQ_FIRST(&lanes->list); lane; lane = TAILQ_NEXT(lane, entry)) {
		if (lane->id != id->id || lane == lanes->other)
			continue;
		TAILQ_REMOVE(&lanes->list, lane, entry);
		TAILQ_INSERT_HEAD(&lanes->list, lane, entry);
		return lane;
	}
	if (!make_room(lanes))
		return other(lanes);
	lane = add(lanes, id->id);
	if (model && key && *key && strstr(model, key))
		model = NULL; /* a slip of the user's, which must not get into logs */
	/* The model may be long: what tells lanes apart comes last, and whole. */
	snprintf(lane->name, sizeof(lane->name), "%.140s %08x", model && *model ? model : "-",
		(unsigned)id->of_key);
	redact(lane->name, &(struct redact_sent){.fields = NULL});
	return lane;
}
