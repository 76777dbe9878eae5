#include "app/listeners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static bool is_missing_family(int error)
{
	return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

/* What is wrong, and what can be done about it. */
static void render_fault(int error, const char *flag, struct str *out)
{
	str_add(out, strerror(-error));
	if (error == -EADDRINUSE)
		str_addf(out,
			"; another program, perhaps another andiron, has it: stop that one, or "
			"choose another address with %s",
			flag);
	if (error == -ENOTSOCK)
		str_add(out, "; this file is something else, and stays as it is: choose another "
			     "path");
}

static void add(struct listeners *to, const char *text, int id, const struct listener *listener)
{
	to->list[to->count].id = id;
	to->list[to->count].text = xstrdup(text);
	to->list[to->count++].listener = *listener;
}

static bool take_over(struct listeners *to, const struct listeners *before,
	struct activation *activation, const char *text)
{
	for (size_t i = 0; i < before->count; i++) {
		const struct listener *listener = &before->list[i].listener;

		if (!str_same(before->list[i].text, text))
			continue;
		add(to, text, before->list[i].id, listener);
		activation_keep(activation, &listener->address);
		return true;
	}
	return false;
}

/* 0, or -errno. */
static int open_new(
	struct listeners *to, struct activation *activation, const char *text, unsigned unix_mode)
{
	struct address address;
	struct listener listener;
	int error = -EINVAL;

	if (address_parse(text, &address))
		error = activation_listen(activation, &address, unix_mode, &listener);
	if (error == 0)
		add(to, text, to->next_id++, &listener);
	return error;
}

/* One that was passed, and perhaps served already. */
static void add_passed(
	struct listeners *to, const struct listeners *before, const struct listener *passed)
{
	for (size_t i = 0; i < before->count; i++) {
		if (!address_same(&before->list[i].listener.address, &passed->address))
			continue;
		listen_close(passed); /* a duplicate */
		add(to, "systemd", before->list[i].id, &before->list[i].listener);
		return;
	}
	add(to, "systemd", to->next_id++, passed);
}

static bool open_passed(const struct config *config, struct activation *activation,
	const struct listeners *before, struct listeners *to)
{
	struct listener passed[FRONT_MAX_LISTENERS];
	size_t first = to->count, count = first;
	bool opened = activation_listen_all(activation, config, passed, &count);

	for (size_t i = first; i < count; i++)
		add_passed(to, before, &passed[i]);
	return opened;
}

static bool open_one(const struct config *config, struct activation *activation,
	const struct listeners *before, struct listeners *to, const char *text)
{
	_cleanup_str_ struct str fault = STR_NULL;
	int error;

	if (to->count == FRONT_MAX_LISTENERS) {
		log_error("cannot listen on %s: too many addresses", text);
		return false;
	}
	if (str_same(text, "systemd"))
		return open_passed(config, activation, before, to);
	if (take_over(to, before, activation, text))
		return true;
	error = open_new(to, activation, text, config->unix_mode);
	if (error == 0)
		return true;
	if (config->listen_is_default && is_missing_family(error)) {
		log_info("not listening on %s: this machine has no such address", text);
		return true;
	}
	render_fault(error, "--listen", &fault);
	log_error("cannot listen on %s: %s", text, str_text(&fault));
	return false;
}

/* Who says nothing of addresses, and is started by sockets, gets these. */
static bool open_all(const struct config *config, struct activation *activation,
	const struct listeners *before, struct listeners *to)
{
	bool takes_passed = config->listen_is_default && activation->count > 0;
	const char *cursor = takes_passed ? "systemd" : config->server.listen, *element;
	size_t len;

	while (str_next_element(&cursor, " \t", &element, &len)) {
		_cleanup_free_ char *text = xstrndup(element, len);

		if (!open_one(config, activation, before, to, text))
			return false;
	}
	if (to->count == 0)
		log_error("there is no address to listen on");
	return to->count > 0;
}

bool listeners_open(const struct config *config, struct activation *activation,
	const struct listeners *before, struct listeners *ret)
{
	ret->next_id = before->next_id;
	activation_begin(activation);
	if (open_all(config, activation, before, ret))
		return true;
	listeners_discard(ret, before);
	return false;
}

bool listeners_open_admin(const struct config *config, struct activation *activation,
	const struct listeners *before, struct listeners *ret)
{
	const char *text = config->server.admin;
	_cleanup_str_ struct str fault = STR_NULL;
	int error;

	ret->next_id = before->next_id;
	if (str_same(text, "off") || take_over(ret, before, activation, text))
		return true;
	error = open_new(ret, activation, text, config->unix_mode);
	if (error == 0)
		return true;
	render_fault(error, "--admin", &fault);
	if (config->admin_is_default)
		log_warning("the admin listener is off: cannot listen on %s: %s", text,
			str_text(&fault));
	else
		log_error("cannot listen on %s (admin): %s", text, str_text(&fault));
	return config->admin_is_default;
}

static bool has(const struct listeners *listeners, int id)
{
	for (size_t i = 0; i < listeners->count; i++) {
		if (listeners->list[i].id == id)
			return true;
	}
	return false;
}

void listeners_replace(struct listeners *now, struct listeners *next)
{
	for (size_t i = 0; i < now->count; i++) {
		if (!has(next, now->list[i].id))
			listen_close(&now->list[i].listener);
		free(now->list[i].text);
	}
	*now = *next;
}

void listeners_discard(struct listeners *opened, const struct listeners *before)
{
	struct listeners kept = *before;

	listeners_replace(opened, &kept);
	*opened = (struct listeners){.count = 0}; /* the rest is before's */
}

void listeners_forget(struct listeners *listeners, const struct listeners *taken)
{
	size_t left = 0;

	for (size_t i = 0; i < listeners->count; i++) {
		if (has(taken, listeners->list[i].id))
			free(listeners->list[i].text);
		else
			listeners->list[left++] = listeners->list[i];
	}
	listeners->count = left;
}

void listeners_close(struct listeners *listeners)
{
	listeners_replace(listeners, &(struct listeners){.next_id = listeners->next_id});
}

void listeners_add(struct listeners *listeners, const char *text, const struct listener *listener)
{
	add(listeners, text, listeners->next_id++, listener);
}

void listeners_lend(struct listeners *listeners, bool lent)
{
	for (size_t i = 0; i < listeners->count; i++)
		listeners->list[i].listener.lent = lent;
}
