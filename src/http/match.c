#define PCRE2_CODE_UNIT_WIDTH 8
#include "http/match.h"

#include <idn2.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

#define PATTERN_BYTES_MAX 4096
#define REPEAT_MAX        1000
#define MATCH_LIMIT       100000
#define DEPTH_LIMIT       1000

struct regex {
    pcre2_code *code;
};

static int invalid(struct fault *f, const char *what, struct slice part)
{
    return fault_set(f, ERR_PARSE, "error parsing regexp: %s: `%.*s`", what, SLICE_FMT(part));
}

/* An escape at p[i] == '\\'. RE2 has these and every punctuation mark. Returns its length, or 0. */
static size_t escape_length(struct slice p, size_t i)
{
    static const char KNOWN[] = "afnrtvAbBdDsSwWzQEpPx";
    if (i + 1 >= p.n)
        return 0;
    uint8_t c = p.p[i + 1];
    if (c == '0')
        return 2;
    if (c >= '1' && c <= '7') /* octal, of two digits at least: one would be a back-reference */
        return i + 2 < p.n && p.p[i + 2] >= '0' && p.p[i + 2] <= '7' ? 3 : 0;
    bool is_word =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
    if (is_word && memchr(KNOWN, c, sizeof KNOWN - 1) == NULL)
        return 0;
    return 2;
}

static int check_group(struct slice p, size_t i, struct fault *f)
{
    struct slice rest = slice_sub(p, i, SIZE_MAX);
    if (slice_starts(rest, SLICE("(*")))
        return invalid(f, "missing argument to repetition operator", SLICE("*"));
    if (!slice_starts(rest, SLICE("(?")))
        return 0;
    if (slice_starts(rest, SLICE("(?P<")))
        return 0;
    if (slice_starts(rest, SLICE("(?<")) && rest.n > 3 && rest.p[3] != '=' && rest.p[3] != '!')
        return 0; /* a name, as Go has it since 1.22 */
    for (size_t k = 2; k < rest.n; k++) {
        uint8_t c = rest.p[k];
        if (c == ':' || c == ')')
            return 0;
        if (c != 'i' && c != 'm' && c != 's' && c != 'U' && c != '-')
            break;
    }
    return invalid(f, "invalid or unsupported Perl syntax", slice_sub(rest, 0, 3));
}

/* {n}, {n,}, {n,m}: no more than RE2 repeats. Returns the length when it is a repetition, else 0.
 */
static size_t repeat_length(struct slice p, size_t i, bool *ret_is_large)
{
    uint64_t number = 0;
    size_t k = i + 1, digits = 0;
    *ret_is_large = false;
    for (; k < p.n && p.p[k] != '}'; k++) {
        if (p.p[k] == ',' && digits > 0) {
            number = 0;
            continue;
        }
        if (p.p[k] < '0' || p.p[k] > '9')
            return 0;
        digits++;
        if (number < 100000)
            number = number * 10 + (uint64_t)(p.p[k] - '0');
        if (number > REPEAT_MAX)
            *ret_is_large = true;
    }
    return k < p.n && digits > 0 ? k - i + 1 : 0;
}

/* Refuses what PCRE2 has and RE2 has not. */
static int check_syntax(struct slice p, struct fault *f)
{
    bool in_class = false, is_large = false, after_repeat = false;
    for (size_t i = 0; i < p.n; i++) {
        uint8_t c = p.p[i];
        if (c == '\\') {
            size_t n = escape_length(p, i);
            if (n == 0)
                return invalid(f, "invalid escape sequence", slice_sub(p, i, 2));
            if (p.p[i + 1] == 'Q') {
                const uint8_t *end = memmem(p.p + i, p.n - i, "\\E", 2);
                i = end != NULL ? (size_t)(end - p.p) + 1 : p.n;
            } else {
                i += n - 1;
            }
            after_repeat = false;
        } else if (in_class) {
            in_class = c != ']';
        } else if (c == '[') {
            in_class = true;
            after_repeat = false;
            if (i + 1 < p.n && p.p[i + 1] == '^')
                i++;
            if (i + 1 < p.n && p.p[i + 1] == ']')
                i++; /* first in the class it means itself */
        } else if (c == '(') {
            int r = check_group(p, i, f);
            if (r < 0)
                return r;
            after_repeat = false;
            if (i + 1 < p.n && p.p[i + 1] == '?')
                i++;
        } else if (c == '*' || c == '+' || c == '?' || c == '{') {
            size_t n = c == '{' ? repeat_length(p, i, &is_large) : 1;
            if (n == 0)
                continue; /* a brace that repeats nothing is itself */
            if (c == '{' && is_large)
                return invalid(f, "invalid repeat count", slice_sub(p, i, n));
            if (after_repeat && c != '?')
                return invalid(f, "invalid nested repetition operator", slice_sub(p, i, n));
            after_repeat = c != '?' || !after_repeat;
            i += n - 1;
        } else {
            after_repeat = false;
        }
    }
    return 0;
}

int regex_new(struct slice pattern, struct regex **ret, struct fault *f)
{
    int code, r = pattern.n > PATTERN_BYTES_MAX
                      ? fault_set(f, ERR_TOOLARGE, "the pattern is too long")
                      : 0;
    PCRE2_SIZE at;
    if (r == 0 && !slice_is_utf8(pattern))
        r = invalid(f, "invalid UTF-8", pattern);
    if (r == 0)
        r = check_syntax(pattern, f);
    if (r < 0)
        return r;
    uint32_t options =
        PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_UTF_CHECK;
    pcre2_code *compiled = pcre2_compile(pattern.n > 0 ? pattern.p : (const uint8_t *)"", pattern.n,
                                         options, &code, &at, NULL);
    if (compiled == NULL) {
        PCRE2_UCHAR text[128];
        (void)pcre2_get_error_message(code, text, sizeof text);
        return fault_set(f, ERR_PARSE, "error parsing regexp: %s: `%.*s`", (const char *)text,
                         SLICE_FMT(pattern));
    }
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it the interpreter serves */
    struct regex *re = calloc(1, sizeof *re);
    if (re == NULL) {
        pcre2_code_free(compiled);
        return ERR_NOMEM;
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

bool regex_matches(const struct regex *r, struct slice text)
{
    bool found = false;
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (data != NULL && limits != NULL) {
        (void)pcre2_set_match_limit(limits, MATCH_LIMIT);
        (void)pcre2_set_depth_limit(limits, DEPTH_LIMIT);
        found = pcre2_match(r->code, text.n > 0 ? text.p : (const uint8_t *)"", text.n, 0, 0, data,
                            limits) >= 0;
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
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
