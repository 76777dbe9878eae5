#pragma once

/* How far a failed request may be repeated, from its method, path and query. A request that may
 * have created something is never blindly repeated. */

#include <stdbool.h>
#include <stddef.h>

enum request_class {
	CLASS_REPLAYABLE, /* repeating it changes nothing at Fireworks (an inference is billed) */
	CLASS_CREATE_WITH_ID, /* repeated, save on 429: it makes what the client has named, once */
	CLASS_GUARDED,        /* repeated only if it cannot have reached the server, or on 503 */
	CLASS_NEVER,          /* repeated only if not a byte of it was sent */
};

const char *class_name(enum request_class request_class);

/* `path` as path_decode() gives it; `query` is the raw text behind the `?` (NULL or empty: none).
 */
enum request_class class_of(const char *method, const char *path, const char *query);

/* The target of the resource that a create with this path and query has made, to be read after a
 * 409: the collection and the id as the query has it. False: there is no such thing (class_of()
 * then says `guarded`, too), or it does not fit. */
bool class_created_path(const char *path, const char *query, char *ret, size_t size);

/* Below /inference/: there a 429 means "later", elsewhere it is a quota. */
bool path_is_inference(const char *path);
/* /v1/accounts and below. */
bool path_is_control_plane(const char *path);

/* Decodes %XX, folds repeated slashes and removes dot segments (RFC 3986, 5.2.4), so that no
 * spelling of a path slips past the rules. The query is cut off. False if it does not fit
 * or holds a NUL: such a path has no class but `guarded`. */
bool path_decode(const char *path, char *ret, size_t size);
