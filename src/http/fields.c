#include "http/fields.h"

#include "base/err.h"
#include "base/limits.h"
#include "codec/http1_names.h"

#define FIELDS_LEAST 16 /* of an ordinary head */

void fields_init(struct fields *f, struct arena *arena)
{
    *f = (struct fields){ .arena = arena };
}

/* The old array stays in the arena: all of them together are less than twice the last. */
static int fields_grow(struct fields *f)
{
    size_t cap = f->cap > 0 ? f->cap * 2 : FIELDS_LEAST;
    struct field *lines = arena_alloc(f->arena, cap * sizeof *lines);
    if (lines == NULL)
        return ERR_NOMEM;
    if (f->count > 0)
        memcpy(lines, f->lines, f->count * sizeof *lines);
    f->lines = lines;
    f->cap = cap;
    return 0;
}

int fields_add(struct fields *f, struct slice name, struct slice value)
{
    if (f->count >= HEAD_FIELDS_MAX)
        return ERR_LIMIT;
    if (f->count == f->cap) {
        int r = fields_grow(f);
        if (r < 0)
            return r;
    }
    f->lines[f->count++] = (struct field){ .name = name, .value = value };
    return 0;
}

int fields_add_copy(struct fields *f, struct slice name, struct slice value)
{
    if (f->count >= HEAD_FIELDS_MAX)
        return ERR_LIMIT;
    uint8_t *p = arena_alloc(f->arena, name.n + value.n + 1);
    if (p == NULL)
        return ERR_NOMEM;
    if (name.n > 0)
        memcpy(p, name.p, name.n);
    if (value.n > 0)
        memcpy(p + name.n, value.p, value.n);
    return fields_add(f, slice_of(p, name.n), slice_of(p + name.n, value.n));
}

const struct field *fields_get(const struct fields *f, struct slice name)
{
    for (size_t i = 0; i < f->count; i++)
        if (slice_eq_nocase(f->lines[i].name, name))
            return &f->lines[i];
    return NULL;
}

size_t fields_count(const struct fields *f, struct slice name)
{
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++)
        count += slice_eq_nocase(f->lines[i].name, name);
    return count;
}

size_t fields_remove(struct fields *f, struct slice name)
{
    size_t kept = 0, count = f->count;
    for (size_t i = 0; i < count; i++)
        if (!slice_eq_nocase(f->lines[i].name, name))
            f->lines[kept++] = f->lines[i];
    f->count = kept;
    return count - kept;
}

int fields_set(struct fields *f, struct slice name, struct slice value)
{
    (void)fields_remove(f, name);
    return fields_add(f, name, value);
}

bool fields_has_token(const struct fields *f, struct slice name, struct slice token)
{
    for (size_t i = 0; i < f->count; i++) {
        struct slice rest = f->lines[i].value, member;
        if (!slice_eq_nocase(f->lines[i].name, name))
            continue;
        while (http1_list_next(&rest, &member))
            if (slice_eq_nocase(member, token))
                return true;
    }
    return false;
}

bool field_name_is_valid(struct slice name)
{
    return http1_is_token(name);
}

bool field_value_is_valid(struct slice value)
{
    return http1_is_value(value);
}
