#include "codec/json.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/secret.h"

static int load(struct slice text, size_t flags, json_t **ret, struct fault *fault)
{
    json_error_t error;
    size_t nul = slice_find(text, 0);
    /* jansson passes over a NUL byte behind a number. */
    if (nul < text.n) {
        (void)fault_set(fault, ERR_PARSE, "JSON: there is a NUL byte at %zu", nul);
        return ERR_PARSE;
    }
    json_t *value = json_loadb(text.n > 0 ? (const char *)text.p : "", text.n, flags, &error);
    if (value == NULL &&
        (error.text[0] == 0 || json_error_code(&error) == json_error_out_of_memory))
        return fault_set(fault, ERR_NOMEM, "out of memory");
    if (value == NULL) {
        (void)fault_set(fault, ERR_PARSE, "JSON: %s", error.text);
        (void)fault_at(fault, "", error.line > 0 ? (unsigned)error.line : 0,
                       error.column > 0 ? (unsigned)error.column : 0);
        return ERR_PARSE;
    }
    *ret = value;
    return 0;
}

static void wipe_and_free(void *p)
{
    secret_free(p, p != NULL ? malloc_usable_size(p) : 0);
}

void json_wipe_values(void)
{
    json_set_alloc_funcs(malloc, wipe_and_free);
}

int json_parse(struct slice text, json_t **ret, struct fault *fault)
{
    return load(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, ret, fault);
}

int json_parse_last_wins(struct slice text, json_t **ret, struct fault *fault)
{
    return load(text, JSON_DECODE_ANY, ret, fault);
}

static int append(const char *bytes, size_t n, void *to)
{
    strb_add(to, slice_of(bytes, n));
    return 0;
}

void json_write(struct strb *to, const json_t *value)
{
    if (json_dump_callback(value, append, to, JSON_COMPACT | JSON_ENCODE_ANY) != 0 && to->err == 0)
        to->err = ERR_NOMEM;
}

struct slice json_member_slice(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
                                 : (struct slice){ 0 };
}
