#include "policy/route.h"

#include <fnmatch.h>
#include <string.h>

#include "base/str.h"

/* Does the target stand at `prefix` or below it? */
static bool is_below(const char *target, const char *prefix)
{
	size_t len = strlen(prefix);

	return str_begins(target, prefix) &&
	       (target[len] == '\0' || target[len] == '/' || target[len] == '?');
}

/* Takes /p/NAME off the front. False: the name is empty or too long to be one. */
static bool take_profile(const char **target, char *ret_name)
{
	const char *name;
	size_t len;

	ret_name[0] = '\0';
	if (!str_begins(*target, "/p/"))
		return true;
	name = *target + strlen("/p/");
	len = strcspn(name, "/?");
	if (len == 0 || len >= ROUTE_MAX_PROFILE_NAME || name[len] != '/')
		return false;
	memcpy(ret_name, name, len);
	ret_name[len] = '\0';
	*target = name + len;
	return true;
}

bool path_map(const char *target, struct target_path *ret)
{
	if (!take_profile(&target, ret->profile))
		return false;
	if (is_below(target, "/inference/v1/v1"))
		target += strlen("/inference");
	while (is_below(target, "/v1/v1"))
		target += strlen("/v1");
	ret->rest = target;
	if (is_below(target, "/v1") && !is_below(target, "/v1/accounts"))
		ret->prefix = "/inference";
	else
		ret->prefix = "";
	return is_below(target, "/v1") || is_below(target, "/inference/v1") ||
	       is_below(target, "/training") || is_below(target, "/hot_load");
}

static bool matches(const char *glob, const char *text)
{
	return !glob || (text && fnmatch(glob, text, 0) == 0);
}

size_t route_find(const struct route *routes, size_t count, const char *path, const char *model)
{
	size_t i = 0;

	while (i < count && !(matches(routes[i].path, path) && matches(routes[i].model, model)))
		i++;
	return i;
}
