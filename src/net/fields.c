#include "net/fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/http1_head.h"
#include "policy/header.h"

static void field_fini(struct field *field)
{
	free(field->name);
	mem_wipe_free(field->value);
}

void fields_fini(struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++)
		field_fini(&fields->list[i]);
	free(fields->list);
	*fields = FIELDS_NULL;
}

void fields_add(struct fields *fields, const char *name, const char *value)
{
	fields->list = xrealloc(fields->list, (fields->count + 1) * sizeof(*fields->list));
	fields->list[fields->count++] = (struct field){xstrdup(name), xstrdup(value)};
}

static void remove_from(struct fields *fields, const char *name, size_t start)
{
	size_t kept = start;

	for (size_t i = start; i < fields->count; i++) {
		if (str_same_nocase(fields->list[i].name, name))
			field_fini(&fields->list[i]);
		else
			fields->list[kept++] = fields->list[i];
	}
	fields->count = kept;
}

void fields_remove(struct fields *fields, const char *name)
{
	remove_from(fields, name, 0);
}

void fields_remove_at(struct fields *fields, size_t index)
{
	field_fini(&fields->list[index]);
	fields->count--;
	for (size_t i = index; i < fields->count; i++)
		fields->list[i] = fields->list[i + 1];
}

void fields_set(struct fields *fields, const char *name, const char *value)
{
	for (size_t i = 0; i < fields->count; i++) {
		struct field *field = &fields->list[i];

		if (!str_same_nocase(field->name, name))
			continue;
		mem_wipe_free(field->value);
		field->value = xstrdup(value);
		remove_from(fields, name, i + 1);
		return;
	}
	fields_add(fields, name, value);
}

const char *fields_get(const struct fields *fields, const char *name)
{
	for (size_t i = 0; i < fields->count; i++) {
		if (str_same_nocase(fields->list[i].name, name))
			return fields->list[i].value;
	}
	return NULL;
}

size_t fields_count(const struct fields *fields, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < fields->count; i++)
		count += str_same_nocase(fields->list[i].name, name);
	return count;
}

bool fields_are_sendable(const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->list[i];
		size_t name_len = header_token_span(field->name);

		if (name_len == 0 || field->name[name_len] ||
			http1_head_has_control(field->value, strlen(field->value)))
			return false;
	}
	return true;
}
