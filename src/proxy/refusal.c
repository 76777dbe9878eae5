#include "proxy/refusal.h"

bool refusal_set(struct refusal *refusal, int status, enum error error, const char *format, ...)
{
	va_list args;

	refusal->status = status;
	refusal->error = error;
	va_start(args, format);
	str_addv(&refusal->message, format, args);
	va_end(args);
	return false;
}

void refusal_fini(struct refusal *refusal)
{
	str_fini(&refusal->message);
	fields_fini(&refusal->fields);
}
