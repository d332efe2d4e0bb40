#include "base/fault.h"

#include <stdio.h>

int fault_set(struct fault *f, int code, const char *format, ...)
{
    if (f == NULL)
        return code;
    va_list args;
    va_start(args, format);
    *f = (struct fault){ .code = code };
    (void)vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return code;
}

int fault_at(struct fault *f, const char *where, unsigned line, unsigned column)
{
    if (f == NULL)
        return 0;
    (void)snprintf(f->where, sizeof f->where, "%s", where);
    f->line = line;
    f->column = column;
    return f->code;
}

char *fault_line(const struct fault *f, char line[static FAULT_LINE_BYTES])
{
    char place[24] = "";
    if (f->line > 0)
        (void)snprintf(place, sizeof place, f->column > 0 ? "%u:%u:" : "%u:", f->line, f->column);
    (void)snprintf(line, FAULT_LINE_BYTES, "%s%s%s%s%s", f->where, f->where[0] != 0 ? ":" : "",
                   place, f->where[0] != 0 || place[0] != 0 ? " " : "", f->text);
    return line;
}
