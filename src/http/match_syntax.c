/* Go's regular expressions in PCRE2's words. The grammar is that of Go's regexp/syntax; where one
 * spelling means two things (`\v`, `\s`, `\12`, `x{,3}`, a brace that repeats nothing), the one is
 * written that means what Go means. */
#include <stdio.h>

#include "base/err.h"
#include "http/match_int.h"

#define REPEAT_MAX 1000
#define POINT_MAX  0x10ffff

struct reading {
    struct slice p;
    size_t i; /* the next byte */
    struct strb *to;
    struct fault *f;
    bool after_repeat;
    bool folds; /* (?i) was seen */
};

static int invalid(struct reading *r, const char *what, size_t from)
{
    struct slice part = slice_sub(r->p, from, r->i > from ? r->i - from : 1);
    return fault_set(r->f, ERR_PARSE, "error parsing regexp: %s: `%.*s`", what, SLICE_FMT(part));
}

/* The byte `ahead` of the next one; 0 past the end, which no rule takes for anything. */
static uint8_t at(const struct reading *r, size_t ahead)
{
    return r->i + ahead < r->p.n ? r->p.p[r->i + ahead] : 0;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void put_point(struct reading *r, uint32_t point)
{
    if (point < 0x80 && (is_digit((uint8_t)point) || is_letter((uint8_t)point)))
        strb_char(r->to, (char)point);
    else
        strb_fmt(r->to, "\\x{%x}", (unsigned)point);
}

/* One character of well-formed UTF-8. */
static uint32_t take_point(struct reading *r)
{
    uint8_t c = r->p.p[r->i++];
    uint32_t point = c < 0x80 ? c : c < 0xe0 ? c & 0x1fU : c < 0xf0 ? c & 0x0fU : c & 0x07U;
    for (; r->i < r->p.n && (r->p.p[r->i] & 0xc0) == 0x80 && c >= 0xc0; r->i++)
        point = point << 6 | (r->p.p[r->i] & 0x3fU);
    return point;
}

/* ---- escapes ---- */

/* \x7F or \x{10FFFF}, from behind the x. */
static bool take_hex(struct reading *r, uint32_t *ret)
{
    uint32_t value = 0;
    bool braced = at(r, 0) == '{';
    size_t digits = 0;
    r->i += braced;
    for (; hex_value(at(r, 0)) >= 0 && (braced || digits < 2); digits++, r->i++) {
        value = value * 16 + (uint32_t)hex_value(at(r, 0));
        if (value > POINT_MAX)
            return false;
    }
    if (braced && at(r, 0) != '}')
        return false;
    r->i += braced;
    *ret = value;
    return braced ? digits > 0 : digits == 2;
}

/* The first digit is behind us. A single one that is not 0 would be a back-reference. */
static bool take_octal(struct reading *r, uint8_t first, uint32_t *ret)
{
    if (first != '0' && (at(r, 0) < '0' || at(r, 0) > '7'))
        return false;
    *ret = (uint32_t)(first - '0');
    for (int k = 1; k < 3 && at(r, 0) >= '0' && at(r, 0) <= '7'; k++)
        *ret = *ret * 8 + (uint32_t)(r->p.p[r->i++] - '0');
    return true;
}

/* An escape that stands for one character. */
static int take_escaped(struct reading *r, uint32_t *ret)
{
    static const char LETTERS[] = "afnrtv", POINTS[] = "\a\f\n\r\t\v";
    size_t from = r->i;
    if (r->i + 1 >= r->p.n)
        return fault_set(r->f, ERR_PARSE,
                         "error parsing regexp: trailing backslash at end of expression: ``");
    uint8_t c = r->p.p[r->i + 1];
    const char *letter = c != 0 ? strchr(LETTERS, c) : NULL;
    r->i += 2;
    bool is_ok = true;
    if (letter != NULL)
        *ret = (uint32_t)POINTS[letter - LETTERS];
    else if (c == 'x')
        is_ok = take_hex(r, ret);
    else if (c >= '0' && c <= '7')
        is_ok = take_octal(r, c, ret);
    else if (c < 0x80 && !is_digit(c) && !is_letter(c))
        *ret = c;
    else
        is_ok = false;
    return is_ok ? 0 : invalid(r, "invalid escape sequence", from);
}

/* \pL, \p{Lu}, \p{^Greek} and their opposites. */
static int put_property(struct reading *r)
{
    /* Go's C has no unassigned characters and PCRE2's has: it is not here. */
    static const char CATEGORIES[] = " Any Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc "
                                     "Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs ";
    size_t from = r->i;
    bool is_negated = at(r, 1) == 'P';
    struct slice name;
    r->i += 2;
    if (at(r, 0) == '{') {
        struct slice rest = slice_sub(r->p, r->i + 1, SIZE_MAX);
        size_t end = slice_find(rest, '}');
        if (end == rest.n)
            return invalid(r, "invalid character class range", from);
        name = slice_sub(rest, 0, end);
        r->i += end + 2;
        if (slice_starts(name, SLICE("^"))) {
            is_negated = !is_negated;
            name = slice_sub(name, 1, SIZE_MAX);
        }
    } else {
        name = slice_sub(r->p, r->i, 1);
        r->i += name.n;
    }
    bool is_name = name.n > 0 && name.n < 40 && name.p[0] >= 'A' && name.p[0] <= 'Z';
    for (size_t k = 0; k < name.n; k++)
        is_name = is_name && (is_letter(name.p[k]) || name.p[k] == '_');
    /* Without case, Go's Lu has small letters too, and PCRE2's has them in some versions. */
    bool is_case =
        slice_eq(name, SLICE("Lu")) || slice_eq(name, SLICE("Ll")) || slice_eq(name, SLICE("Lt"));
    if (!is_name || slice_eq(name, SLICE("C")) || (is_case && r->folds))
        return invalid(r, "invalid character class range", from);
    char spaced[48];
    (void)snprintf(spaced, sizeof spaced, " %.*s ", SLICE_FMT(name));
    bool is_category = strstr(CATEGORIES, spaced) != NULL;
    strb_fmt(r->to, "\\%c{%s%.*s}", is_negated ? 'P' : 'p',
             is_category ? "" : "sc:", SLICE_FMT(name));
    return 0;
}

/* \Q…\E: every character stands for itself. */
static void put_quoted(struct reading *r)
{
    r->i += 2;
    while (r->i < r->p.n) {
        if (at(r, 0) == '\\' && at(r, 1) == 'E') {
            r->i += 2;
            return;
        }
        put_point(r, take_point(r));
        r->after_repeat = false;
    }
}

static int put_escape(struct reading *r)
{
    uint8_t c = at(r, 1);
    uint32_t point = 0;
    if (c == 'Q') {
        put_quoted(r);
        return 0;
    }
    r->after_repeat = false;
    if (c == 'p' || c == 'P')
        return put_property(r);
    if (c != 0 && strchr("AzbBdDwWsS", c) != NULL) {
        if (strchr("AzbB", c) != NULL)
            strb_fmt(r->to, "(?:\\%c)", c);
        else if (c == 's')
            strb_str(r->to, "[\\t\\n\\f\\r ]");
        else if (c == 'S')
            strb_str(r->to, "[^\\t\\n\\f\\r ]");
        else
            strb_fmt(r->to, "\\%c", c);
        r->i += 2;
        return 0;
    }
    int e = take_escaped(r, &point);
    if (e == 0)
        put_point(r, point);
    return e;
}

/* ---- classes ---- */

/* [:alpha:] and [:^alpha:]. 1 when it was one, 0, ERR_PARSE. */
static int put_named(struct reading *r)
{
    static const char NAMES[] =
        " alnum alpha ascii blank cntrl digit graph lower print punct space "
        "upper word xdigit ";
    struct slice rest = slice_sub(r->p, r->i, SIZE_MAX);
    const uint8_t *end = rest.n > 2 ? memmem(rest.p + 2, rest.n - 2, ":]", 2) : NULL;
    if (at(r, 0) != '[' || at(r, 1) != ':' || end == NULL)
        return 0;
    size_t from = r->i, n = (size_t)(end - rest.p) + 2;
    struct slice name = slice_of(rest.p + 2, n - 4);
    if (slice_starts(name, SLICE("^")))
        name = slice_sub(name, 1, SIZE_MAX);
    char spaced[16];
    (void)snprintf(spaced, sizeof spaced, " %.*s ", name.n < 10 ? (int)name.n : 10,
                   (const char *)name.p);
    bool is_known = name.n > 0 && slice_find(name, ' ') == name.n && strstr(NAMES, spaced) != NULL;
    r->i += n;
    if (!is_known)
        return invalid(r, "invalid character class range", from);
    strb_add(r->to, slice_of(rest.p, n));
    return 1;
}

/* \d and its kind, \p and its. 1 when it was one, 0, ERR_PARSE. */
static int put_set(struct reading *r)
{
    uint8_t c = at(r, 1);
    if (at(r, 0) != '\\' || c == 0)
        return 0;
    if (c == 'p' || c == 'P') {
        int e = put_property(r);
        return e < 0 ? e : 1;
    }
    if (strchr("dDwWsS", c) == NULL)
        return 0;
    /* The opposites as ranges: PCRE2 forgets what is above 255 when a named class follows. Without
     * case, U+017F and U+212A would bring s and k with them. */
    if (c == 's')
        strb_str(r->to, "\\t\\n\\f\\r ");
    else if (c == 'S')
        strb_str(r->to, "\\x{0}-\\x{8}\\x{b}\\x{e}-\\x{1f}!-\\x{10ffff}");
    else if (c == 'D')
        strb_str(r->to, "\\x{0}-\\x{2f}\\x{3a}-\\x{10ffff}");
    else if (c == 'W')
        strb_fmt(r->to, "\\x{0}-\\x{2f}\\x{3a}-\\x{40}\\x{5b}-\\x{5e}\\x{60}\\x{7b}-%s\\x{10ffff}",
                 r->folds ? "\\x{17e}\\x{180}-\\x{2129}\\x{212b}-" : "");
    else
        strb_fmt(r->to, "\\%c", c);
    r->i += 2;
    return 1;
}

static int take_member(struct reading *r, uint32_t *ret)
{
    if (at(r, 0) == '\\')
        return take_escaped(r, ret);
    *ret = take_point(r);
    return 0;
}

/* a or a-z. */
static int put_range(struct reading *r)
{
    size_t from = r->i;
    uint32_t low = 0, high = 0;
    int e = take_member(r, &low);
    high = low;
    if (e == 0 && at(r, 0) == '-' && r->i + 1 < r->p.n && at(r, 1) != ']') {
        r->i++;
        e = take_member(r, &high);
    }
    if (e < 0)
        return e;
    if (high < low)
        return invalid(r, "invalid character class range", from);
    put_point(r, low);
    if (high > low) {
        strb_char(r->to, '-');
        put_point(r, high);
    }
    return 0;
}

static int put_class(struct reading *r)
{
    size_t from = r->i++;
    strb_char(r->to, '[');
    if (at(r, 0) == '^') {
        strb_char(r->to, '^');
        r->i++;
    }
    for (bool is_first = true;; is_first = false) {
        if (r->i >= r->p.n)
            return invalid(r, "missing closing ]", from);
        if (at(r, 0) == ']' && !is_first) /* first in the class it means itself */
            break;
        int e = put_named(r);
        if (e == 0)
            e = put_set(r);
        if (e == 0)
            e = put_range(r);
        if (e < 0)
            return e;
    }
    strb_char(r->to, ']');
    r->i++;
    r->after_repeat = false;
    return 0;
}

/* ---- groups and repetitions ---- */

static size_t name_length(struct slice s)
{
    size_t n = 0;
    while (n < s.n && (is_letter(s.p[n]) || is_digit(s.p[n]) || s.p[n] == '_'))
        n++;
    return n;
}

/* (?ims-U) and (?ims-U:…; the length up to and with the ')' or ':', 0 when it is neither. */
static size_t flags_length(struct slice s)
{
    bool is_minus = false, has_flag = false;
    for (size_t k = 2; k < s.n; k++) {
        uint8_t c = s.p[k];
        if (c == ':' || c == ')')
            return is_minus && !has_flag ? 0 : k + 1;
        if (c == '-' && is_minus)
            return 0;
        if (c == '-') {
            is_minus = true;
            has_flag = false;
        } else if (c == 'i' || c == 'm' || c == 's' || c == 'U') {
            has_flag = true;
        } else {
            return 0;
        }
    }
    return 0;
}

static int put_group(struct reading *r)
{
    size_t from = r->i, n = 1;
    struct slice rest = slice_sub(r->p, r->i, SIZE_MAX);
    if (at(r, 1) == '*') { /* a verb of PCRE2's */
        r->i++;
        return invalid(r, "missing argument to repetition operator", from + 1);
    }
    if (at(r, 1) == '?') {
        size_t name = slice_starts(rest, SLICE("(?P<"))  ? 4
                      : slice_starts(rest, SLICE("(?<")) ? 3
                                                         : 0;
        size_t length = name > 0 ? name_length(slice_sub(rest, name, SIZE_MAX)) : 0;
        if (length > 0 && name + length < rest.n && rest.p[name + length] == '>')
            n = name + length + 1;
        else
            n = name > 0 ? 0 : flags_length(rest);
    }
    if (n == 0) {
        r->i += rest.n < 4 ? rest.n : 4;
        return invalid(r, "invalid or unsupported Perl syntax", from);
    }
    strb_add(r->to, slice_sub(rest, 0, n));
    if (n > 1 && rest.p[2] != 'P' && rest.p[2] != '<')
        r->folds = r->folds || slice_find(slice_sub(rest, 0, n), 'i') < n;
    r->i += n;
    r->after_repeat = false;
    return 0;
}

/* A number without leading zeros; false when there is none. */
static bool take_count(struct slice s, size_t *at, unsigned *ret)
{
    size_t from = *at;
    unsigned n = 0;
    for (; *at < s.n && is_digit(s.p[*at]); ++*at)
        n = n < 100000 ? n * 10 + (unsigned)(s.p[*at] - '0') : n;
    *ret = n;
    return *at > from && (*at - from == 1 || s.p[from] != '0');
}

/* {n}, {n,} or {n,m}: its length, or 0 when the brace repeats nothing and is itself. */
static size_t count_length(struct slice s, bool *ret_is_bad)
{
    unsigned least, most;
    size_t k = 1;
    if (!take_count(s, &k, &least))
        return 0;
    most = least;
    if (k < s.n && s.p[k] == ',') {
        k++;
        if (k < s.n && s.p[k] == '}')
            most = REPEAT_MAX;
        else if (!take_count(s, &k, &most))
            return 0;
    }
    *ret_is_bad = least > REPEAT_MAX || most > REPEAT_MAX || most < least;
    return k < s.n && s.p[k] == '}' ? k + 1 : 0;
}

static int put_repeat(struct reading *r)
{
    struct slice rest = slice_sub(r->p, r->i, SIZE_MAX);
    size_t from = r->i;
    bool is_bad = false;
    size_t n = at(r, 0) == '{' ? count_length(rest, &is_bad) : 1;
    if (n == 0) {
        strb_str(r->to, "\\{");
        r->i++;
        r->after_repeat = false;
        return 0;
    }
    r->i += n;
    if (is_bad)
        return invalid(r, "invalid repeat count", from);
    r->i += at(r, 0) == '?'; /* as little as possible */
    if (r->after_repeat)
        return invalid(r, "invalid nested repetition operator", from);
    strb_add(r->to, slice_sub(r->p, from, r->i - from));
    r->after_repeat = true;
    return 0;
}

int regex_translate(struct slice pattern, struct strb *to, struct fault *f)
{
    struct reading r = { .p = pattern, .to = to, .f = f };
    while (r.i < pattern.n && to->err == 0) {
        uint8_t c = pattern.p[r.i];
        int e = 0;
        if (c == '\\') {
            e = put_escape(&r);
        } else if (c == '[') {
            e = put_class(&r);
        } else if (c == '(') {
            e = put_group(&r);
        } else if (c == '*' || c == '+' || c == '?' || c == '{') {
            e = put_repeat(&r);
        } else if (c == 0 || c >= 0x80) {
            put_point(&r, take_point(&r));
            r.after_repeat = false;
        } else if (c == '^' || c == '$') {
            strb_fmt(to, "(?:%c)", c); /* PCRE2 repeats no bare assertion */
            r.i++;
            r.after_repeat = false;
        } else {
            strb_char(to, (char)c);
            r.i++;
            r.after_repeat = false;
        }
        if (e < 0)
            return e;
    }
    return to->err;
}
