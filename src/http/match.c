#define PCRE2_CODE_UNIT_WIDTH 8
#include "http/match.h"

#include <idn2.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "http/match_int.h"

#define PATTERN_BYTES_MAX    4096
#define TRANSLATED_BYTES_MAX (16 * PATTERN_BYTES_MAX) /* a character may become \x{10ffff} */
#define MATCH_LIMIT          100000                   /* steps of one search: a few milliseconds */
#define DEPTH_LIMIT          100000
#define HEAP_LIMIT_KIB       16384

struct regex {
    pcre2_code *code;
};

static int translate(struct slice pattern, struct strb *to, struct fault *f)
{
    if (pattern.n > PATTERN_BYTES_MAX)
        return fault_set(f, ERR_TOOLARGE, "the pattern is too long");
    if (!slice_is_utf8(pattern))
        return fault_set(f, ERR_PARSE, "error parsing regexp: invalid UTF-8: `%.*s`",
                         SLICE_FMT(pattern));
    int r = regex_translate(pattern, to, f);
    return r == ERR_NOMEM          ? fault_set(f, r, "out of memory")
           : r < 0 && r == to->err ? fault_set(f, r, "the pattern is too long")
                                   : r;
}

static int compile(struct slice pattern, struct slice translated, pcre2_code **ret, struct fault *f)
{
    /* As Go: `$` is the end of the text alone, `^` of (?m) stands behind every line's end, and a
     * line ends with LF, whatever the library was built for. */
    uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY |
                       PCRE2_ALT_CIRCUMFLEX | PCRE2_NO_UTF_CHECK;
    PCRE2_SIZE at;
    int code;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL || pcre2_set_newline(context, PCRE2_NEWLINE_LF) != 0) {
        pcre2_compile_context_free(context);
        return fault_set(f, ERR_NOMEM, "out of memory");
    }
    *ret = pcre2_compile(translated.n > 0 ? translated.p : (const uint8_t *)"", translated.n,
                         options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (*ret != NULL)
        return 0;
    PCRE2_UCHAR text[128];
    (void)pcre2_get_error_message(code, text, sizeof text);
    return fault_set(f, ERR_PARSE, "error parsing regexp: %s: `%.*s`", (const char *)text,
                     SLICE_FMT(pattern));
}

int regex_new(struct slice pattern, struct regex **ret, struct fault *f)
{
    struct strb translated;
    pcre2_code *compiled = NULL;
    strb_init(&translated, TRANSLATED_BYTES_MAX);
    int r = translate(pattern, &translated, f);
    if (r == 0)
        r = compile(pattern, strb_slice(&translated), &compiled, f);
    strb_done(&translated);
    if (r < 0)
        return r;
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it the interpreter serves */
    struct regex *re = calloc(1, sizeof *re);
    if (re == NULL) {
        pcre2_code_free(compiled);
        return fault_set(f, ERR_NOMEM, "out of memory");
    }
    re->code = compiled;
    *ret = re;
    return 0;
}

void regex_free(struct regex *r)
{
    if (r == NULL)
        return;
    pcre2_code_free(r->code);
    free(r);
}

/* Bytes of the well-formed character at the front; 0 when there is none. */
static size_t character(struct slice s)
{
    for (size_t n = 1; n <= 4 && n <= s.n; n++)
        if (slice_is_utf8(slice_sub(s, 0, n)))
            return n;
    return 0;
}

/* As Go reads a text: each byte that is no part of a character is U+FFFD. From malloc, or NULL. */
static uint8_t *mended(struct slice text, size_t *ret_n)
{
    uint8_t *out = malloc(text.n * 3);
    size_t to = 0;
    for (size_t i = 0; i < text.n && out != NULL;) {
        struct slice rest = slice_sub(text, i, SIZE_MAX);
        size_t n = character(rest);
        memcpy(out + to, n > 0 ? rest.p : (const uint8_t *)"\xef\xbf\xbd", n > 0 ? n : 3);
        to += n > 0 ? n : 3;
        i += n > 0 ? n : 1;
    }
    *ret_n = to;
    return out;
}

/* What pcre2_match says, with its places in *ret_data (NULL when memory is short). */
static int search(const struct regex *r, struct slice text, uint32_t pairs,
                  pcre2_match_data **ret_data)
{
    int found = PCRE2_ERROR_NOMEMORY;
    pcre2_match_data *data = pcre2_match_data_create(pairs, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    const uint8_t *p = text.n > 0 ? text.p : (const uint8_t *)"";
    if (data != NULL && limits != NULL) {
        (void)pcre2_set_match_limit(limits, MATCH_LIMIT);
        (void)pcre2_set_depth_limit(limits, DEPTH_LIMIT);
        (void)pcre2_set_heap_limit(limits, HEAP_LIMIT_KIB);
        found = pcre2_match(r->code, p, text.n, 0, PCRE2_NO_UTF_CHECK, data, limits);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its places on the heap */
            found =
                pcre2_match(r->code, p, text.n, 0, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, limits);
    }
    pcre2_match_context_free(limits);
    *ret_data = data;
    return found;
}

static bool is_found(const struct regex *r, struct slice text)
{
    pcre2_match_data *data;
    int found = search(r, text, 1, &data);
    pcre2_match_data_free(data);
    return found >= 0;
}

int regex_find(const struct regex *r, struct slice text, struct slice *groups, size_t max)
{
    pcre2_match_data *data;
    if (!slice_is_utf8(text))
        return ERR_PARSE;
    if (text.n == 0)
        text = SLICE("");
    int found = search(r, text, (uint32_t)max, &data);
    int e = found >= 0                      ? 0
            : found == PCRE2_ERROR_NOMATCH  ? ERR_NOTFOUND
            : found == PCRE2_ERROR_NOMEMORY ? ERR_NOMEM
                                            : ERR_LIMIT;
    size_t taken = found == 0 ? max : found > 0 ? (size_t)found : 0; /* 0: more than `max` */
    const PCRE2_SIZE *at = taken > 0 ? pcre2_get_ovector_pointer(data) : NULL;
    for (size_t i = 0; i < max; i++)
        groups[i] = i < taken && at[2 * i] != PCRE2_UNSET
                        ? slice_sub(text, at[2 * i], at[2 * i + 1] - at[2 * i])
                        : (struct slice){ 0 };
    pcre2_match_data_free(data);
    return e;
}

size_t regex_groups(const struct regex *r)
{
    uint32_t count = 0;
    (void)pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &count);
    return count;
}

bool regex_matches(const struct regex *r, struct slice text)
{
    if (slice_is_utf8(text))
        return is_found(r, text);
    size_t n;
    uint8_t *copy = mended(text, &n);
    bool found = copy != NULL && is_found(r, slice_of(copy, n));
    free(copy);
    return found;
}

char *idna_ascii(struct slice hostname, struct arena *arena)
{
    char *ascii = NULL, *text = arena_str(arena, hostname), *copy = NULL;
    if (text == NULL || strlen(text) != hostname.n)
        return NULL;
    int r = idn2_lookup_u8((const uint8_t *)text, (uint8_t **)&ascii,
                           IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    if (r == IDN2_OK && ascii != NULL && !slice_eq(slice_str(ascii), hostname))
        copy = arena_str(arena, slice_str(ascii));
    idn2_free(ascii);
    return copy;
}
