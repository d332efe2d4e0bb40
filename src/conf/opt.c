#include "conf/opt.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "conf/duration.h"
#include "conf/spelling.h"

/* ---- names ---- */

/* Whether a row answers to this name. */
static bool answers_to(const struct opt *o, struct slice name)
{
    struct slice rest = slice_str(o->names), part;
    while (slice_split(&rest, ',', &part)) {
        if (slice_starts(part, SLICE(".")))
            part = slice_sub(part, 1, SIZE_MAX);
        if (slice_eq(part, name))
            return true;
    }
    return false;
}

static struct slice main_name(const struct opt *o)
{
    struct slice rest = slice_str(o->names), part;
    (void)slice_split(&rest, ',', &part);
    return slice_starts(part, SLICE(".")) ? slice_sub(part, 1, SIZE_MAX) : part;
}

static const struct opt *find(const struct opt_table *t, struct slice name)
{
    for (size_t i = 0; i < t->count; i++)
        if (answers_to(&t->rows[i], name))
            return &t->rows[i];
    return NULL;
}

bool opt_knows(const struct opt_table *t, struct slice name)
{
    return find(t, name) != NULL;
}

enum opt_source opt_source_of(const struct opt_table *t, const char *name)
{
    const struct opt *o = find(t, slice_str(name));
    assert(o != NULL);
    return t->sources[o - t->rows];
}

const char *opt_text(const struct opt_table *t, const char *name, struct arena *arena)
{
    const struct opt *o = find(t, slice_str(name));
    assert(o != NULL);
    const void *at = (const char *)t->values + o->at;
    switch (o->kind) {
    case OPT_STR:
        return *(const char *const *)at;
    case OPT_BOOL:
        return *(const bool *)at ? "true" : "false";
    case OPT_INT:
        return arena_fmt(arena, "%lld", (long long)*(const int64_t *)at);
    case OPT_TIME:
        return arena_fmt(arena, "%.9gs",
                         (double)(int64_t) * (const nsec *)at / (double)NSEC_PER_SEC);
    case OPT_LIST:
        break;
    }
    return NULL;
}

/* ---- values ---- */

static int bad_value(struct fault *f, const struct opt *o, const char *value, const char *want)
{
    return fault_set(f, ERR_INVALID, "--%.*s %s: %s", SLICE_FMT(main_name(o)), value, want);
}

static int put_int(const struct opt *o, const char *value, void *at, struct fault *f)
{
    struct slice digits = slice_str(value);
    uint64_t magnitude = 0;
    bool is_negative = digits.n > 0 && digits.p[0] == '-';
    if (is_negative)
        digits = slice_sub(digits, 1, SIZE_MAX);
    int r = slice_u64(digits, INT64_MAX, &magnitude);
    if (r == ERR_PARSE)
        return bad_value(f, o, value, "a whole number is wanted");
    int64_t n = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
    if (r < 0 || n < o->min || n > o->max)
        return fault_set(f, ERR_RANGE, "--%.*s %s: it must be between %lld and %lld",
                         SLICE_FMT(main_name(o)), value, (long long)o->min, (long long)o->max);
    *(int64_t *)at = n;
    return 0;
}

static int put_time(const struct opt *o, const char *value, void *at, struct fault *f)
{
    int64_t ns;
    int r = duration_parse(slice_str(value), &ns);
    if (r == ERR_PARSE)
        return bad_value(f, o, value, "a duration is wanted, such as 30s or 1m30s");
    /* Compared as nanoseconds: a remainder below zero must not pass for zero. */
    int64_t least = o->min * (int64_t)NSEC_PER_MSEC, most = o->max * (int64_t)NSEC_PER_MSEC;
    bool fits = r == 0 && ns >= least && (o->max == 0 || ns <= most);
    if (!fits && o->max > 0)
        return fault_set(f, ERR_RANGE, "--%.*s %s: it must be between %lldms and %lldms",
                         SLICE_FMT(main_name(o)), value, (long long)o->min, (long long)o->max);
    if (!fits)
        return fault_set(f, ERR_RANGE, "--%.*s %s: it must be %lldms or more, and below 292 years",
                         SLICE_FMT(main_name(o)), value, (long long)o->min);
    *(nsec *)at = (nsec)ns;
    return 0;
}

static int put_bool(const struct opt *o, const char *value, void *at, struct fault *f)
{
    static const char *const WORDS[] = { "true",  "1", "t", "T", "TRUE",  "True",
                                         "false", "0", "f", "F", "FALSE", "False" };
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
        if (slice_eq(slice_str(value), slice_str(WORDS[i]))) {
            *(bool *)at = i < 6;
            return 0;
        }
    return bad_value(f, o, value, "true or false is wanted");
}

/* Defaults are literals and stay where they are; all else is copied. */
static const char *keep(const char *value, enum opt_source source, struct arena *arena)
{
    return source == OPT_FROM_DEFAULT ? value : arena_str(arena, slice_str(value));
}

static int out_of_memory(struct fault *f)
{
    return fault_set(f, ERR_NOMEM, "out of memory");
}

static int put_text(const char *value, void *at, struct fault *f)
{
    if (value == NULL)
        return out_of_memory(f);
    *(const char **)at = value;
    return 0;
}

static int add_item(const struct opt *o, struct opt_list *l, const char *value, struct fault *f)
{
    if (value == NULL)
        return out_of_memory(f);
    if (l->count == OPT_LIST_MAX)
        return fault_set(f, ERR_LIMIT, "--%.*s: there are more than %d values",
                         SLICE_FMT(main_name(o)), OPT_LIST_MAX);
    l->items[l->count++] = value;
    return 0;
}

static int put(const struct opt_table *t, const struct opt *o, const char *value,
               enum opt_source source, struct arena *arena, struct fault *f)
{
    void *at = (char *)t->values + o->at;
    enum opt_source *from = &t->sources[o - t->rows];
    int r = 0;
    switch (o->kind) {
    case OPT_STR:
        r = put_text(keep(value, source, arena), at, f);
        break;
    case OPT_BOOL:
        r = put_bool(o, value, at, f);
        break;
    case OPT_INT:
        r = put_int(o, value, at, f);
        break;
    case OPT_TIME:
        r = put_time(o, value, at, f);
        break;
    case OPT_LIST:
        if (*from != source) /* a new source replaces the old one's list */
            ((struct opt_list *)at)->count = 0;
        *from = source;
        r = add_item(o, at, keep(value, source, arena), f);
        break;
    }
    if (r == 0)
        *from = source;
    return r;
}

int opt_set(const struct opt_table *t, struct slice name, const char *value, enum opt_source source,
            struct arena *arena, struct fault *f)
{
    const struct opt *o = find(t, name);
    return o != NULL ? put(t, o, value, source, arena, f) : ERR_NOTFOUND;
}

void opt_defaults(const struct opt_table *t, struct arena *arena)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct opt *o = &t->rows[i];
        t->sources[i] = OPT_FROM_DEFAULT;
        if (o->kind == OPT_LIST) {
            *(struct opt_list *)(void *)((char *)t->values + o->at) = (struct opt_list){ 0 };
            if (o->preset[0] == 0)
                continue;
        }
        if (o->kind == OPT_BOOL && o->preset[0] == 0) {
            *(bool *)((char *)t->values + o->at) = false;
            continue;
        }
        int r = put(t, o, o->preset, OPT_FROM_DEFAULT, arena, NULL);
        assert(r == 0);
    }
}

/* ---- environment and file ---- */

static int put_all(const struct opt_table *t, const struct opt *o, struct slice list,
                   enum opt_source source, struct arena *arena, struct fault *f)
{
    struct slice part;
    while (slice_split(&list, ',', &part)) {
        const char *text = arena_str(arena, slice_trim(part));
        int r = text != NULL ? put(t, o, text, source, arena, f) : out_of_memory(f);
        if (r < 0)
            return r;
    }
    return 0;
}

int opt_env(const struct opt_table *t, struct arena *arena, struct fault *f)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct opt *o = &t->rows[i];
        struct slice rest = slice_str(o->env), name;
        if (t->sources[i] > OPT_FROM_ENV || rest.n == 0)
            continue;
        while (slice_split(&rest, ',', &name)) {
            const char *key = arena_str(arena, name);
            if (key == NULL)
                return out_of_memory(f);
            const char *value = getenv(key);
            if (value == NULL || value[0] == 0)
                continue;
            int r = o->kind == OPT_LIST ? put_all(t, o, slice_str(value), OPT_FROM_ENV, arena, f)
                                        : put(t, o, value, OPT_FROM_ENV, arena, f);
            if (r < 0) {
                (void)fault_at(f, key, 0, 0);
                return r;
            }
            break;
        }
    }
    return 0;
}

/* A single value of the file as a string. */
static int text_of(const struct yaml_node *n, struct arena *arena, const char **ret,
                   struct fault *f)
{
    if (n->kind != YAML_SCALAR)
        return fault_set(f, ERR_INVALID, "a single value is wanted");
    if (slice_find(n->text, 0) < n->text.n)
        return fault_set(f, ERR_INVALID, "a value must not hold a NUL character");
    *ret = arena_str(arena, n->text);
    return *ret != NULL ? 0 : out_of_memory(f);
}

static int put_node(const struct opt_table *t, const struct opt *o, const struct yaml_node *n,
                    struct arena *arena, struct fault *f)
{
    const char *text;
    if (n->kind == YAML_LIST && o->kind == OPT_LIST) {
        for (const struct yaml_node *item = n->first; item != NULL; item = item->next) {
            int r = text_of(item, arena, &text, f);
            if (r == 0)
                r = put(t, o, text, OPT_FROM_FILE, arena, f);
            if (r < 0)
                return r;
        }
        return 0;
    }
    bool truth;
    if (o->kind == OPT_BOOL && yaml_bool(n, &truth) == 0)
        return put(t, o, truth ? "true" : "false", OPT_FROM_FILE, arena, f);
    int r = text_of(n, arena, &text, f);
    return r == 0 ? put(t, o, text, OPT_FROM_FILE, arena, f) : r;
}

int opt_file(const struct opt_table *t, const struct yaml_node *map, const char *where,
             struct arena *arena, struct fault *f)
{
    if (map == NULL || yaml_is_null(map))
        return 0;
    if (map->kind != YAML_MAP)
        return yaml_fault(f, ERR_INVALID, where, map, "a file of options is a map: name: value");
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        const struct opt *o = find(t, n->key);
        if (o == NULL || t->sources[o - t->rows] > OPT_FROM_FILE || yaml_is_null(n))
            continue;
        int r = put_node(t, o, n, arena, f);
        if (r < 0) {
            (void)fault_at(f, where, n->line, n->column);
            return r;
        }
    }
    return 0;
}

/* ---- flags ---- */

static int unknown_flag(const struct opt_table *tables, size_t count, struct slice name,
                        struct fault *f)
{
    struct slice nearest = { 0 };
    unsigned least = 3;
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < tables[t].count; i++) {
            unsigned d = edit_distance(name, main_name(&tables[t].rows[i]));
            if (d < least) {
                least = d;
                nearest = main_name(&tables[t].rows[i]);
            }
        }
    if (nearest.n > 0)
        return fault_set(f, ERR_INVALID, "there is no flag --%.*s; did you mean --%.*s?",
                         SLICE_FMT(name), SLICE_FMT(nearest));
    return fault_set(f, ERR_INVALID, "there is no flag --%.*s; see --help", SLICE_FMT(name));
}

/* One flag at argv[i]. Returns how many words it took. */
static int take_flag(const struct opt_table *tables, size_t count, int argc, char **argv, int i,
                     struct arena *arena, struct fault *f)
{
    struct slice word = slice_str(argv[i]);
    struct slice name = slice_sub(word, word.p[1] == '-' ? 2 : 1, SIZE_MAX);
    size_t equals = slice_find(name, '=');
    const char *value = equals < name.n ? (const char *)name.p + equals + 1 : NULL;
    name = slice_sub(name, 0, equals);
    if (slice_eq(name, SLICE("help")) || slice_eq(name, SLICE("h")))
        return ERR_CANCELED;
    for (size_t t = 0; t < count; t++) {
        const struct opt *o = find(&tables[t], name);
        if (o == NULL)
            continue;
        int words = 1;
        if (value == NULL && o->kind == OPT_BOOL) {
            value = "true";
        } else if (value == NULL) {
            if (i + 1 >= argc)
                return fault_set(f, ERR_INVALID, "--%.*s needs a value", SLICE_FMT(name));
            value = argv[i + 1];
            words = 2;
        }
        int r = put(&tables[t], o, value, OPT_FROM_FLAG, arena, f);
        return r < 0 ? r : words;
    }
    return unknown_flag(tables, count, name, f);
}

int opt_args(const struct opt_table *tables, size_t table_count, int argc, char **argv,
             int *ret_count, struct arena *arena, struct fault *f)
{
    int kept = 0;
    for (int i = 0; i < argc;) {
        if (argv[i][0] != '-' || argv[i][1] == 0) {
            argv[kept++] = argv[i++];
            continue;
        }
        if (slice_eq(slice_str(argv[i]), SLICE("--"))) {
            for (i++; i < argc;)
                argv[kept++] = argv[i++];
            break;
        }
        int r = take_flag(tables, table_count, argc, argv, i, arena, f);
        if (r < 0)
            return r;
        i += r;
    }
    *ret_count = kept;
    return 0;
}

/* ---- help ---- */

#define HELP_COLUMN 34
#define HELP_WIDTH  100

static void wrap(FILE *to, const char *text)
{
    size_t column = HELP_COLUMN;
    struct slice rest = slice_str(text), word;
    while (slice_split(&rest, ' ', &word)) {
        if (column > HELP_COLUMN && column + 1 + word.n > HELP_WIDTH) {
            (void)fprintf(to, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        (void)fprintf(to, "%s%.*s", column > HELP_COLUMN ? " " : "", SLICE_FMT(word));
        column += word.n + (column > HELP_COLUMN);
    }
    (void)fputc('\n', to);
}

void opt_help(const struct opt_table *t, FILE *to)
{
    static const char *const VALUES[] = { "VALUE", "", "N", "TIME", "VALUE" };
    for (size_t i = 0; i < t->count; i++) {
        const struct opt *o = &t->rows[i];
        char left[80], text[512];
        if (o->names[0] == '.')
            continue;
        int n = snprintf(left, sizeof left, "  --%.*s%s%s", SLICE_FMT(main_name(o)),
                         o->kind == OPT_BOOL ? "" : " ", VALUES[o->kind]);
        (void)fprintf(to, "%-*s", HELP_COLUMN, left);
        if (n >= HELP_COLUMN)
            (void)fprintf(to, "\n%*s", HELP_COLUMN, "");
        (void)snprintf(text, sizeof text, "%s%s%s%s%s%s%s", o->help, o->preset[0] != 0 ? " [" : "",
                       o->preset, o->preset[0] != 0 ? "]" : "", o->env[0] != 0 ? " ($" : "", o->env,
                       o->env[0] != 0 ? ")" : "");
        wrap(to, text);
    }
}
