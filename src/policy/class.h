#pragma once

/* How far a failed request may be repeated, from its method and path. A request that may have
 * created something is never blindly repeated. */

#include <stdbool.h>
#include <stddef.h>

enum request_class {
	CLASS_REPLAYABLE, /* repeating it changes nothing at Fireworks (an inference is billed) */
	CLASS_GUARDED,    /* repeated only if it cannot have reached the server, or on 503 */
	CLASS_NEVER,      /* repeated only if not a byte of it was sent */
};

const char *class_name(enum request_class request_class);

/* `path` as path_decode() gives it. */
enum request_class class_of(const char *method, const char *path);

/* Below /inference/: there a 429 means "later", elsewhere it is a quota. */
bool path_is_inference(const char *path);
/* /v1/accounts and below. */
bool path_is_control_plane(const char *path);

/* Decodes %XX, folds repeated slashes and removes dot segments (RFC 3986, 5.2.4), so that no
 * spelling of a path slips past the rules. The query is cut off. False if it does not fit
 * or holds a NUL: such a path has no class but `guarded`. */
bool path_decode(const char *path, char *ret, size_t size);
