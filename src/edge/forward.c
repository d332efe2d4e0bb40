#include "edge/forward.h"

#include "base/err.h"
#include "base/text.h"
#include "http/date.h"
#include "http/trace.h"

char *forward_ray(const struct exchange *ex, char text[static RAY_BYTES])
{
    size_t n = strlen(ex->id);
    memcpy(text, ex->id, n);
    memcpy(text + n, RAY_SUFFIX, sizeof RAY_SUFFIX);
    return text;
}

/* X-Forwarded-For keeps what earlier proxies wrote, on however many lines, and ends with the
 * address that we saw. */
static int add_forwarded_for(struct exchange *ex, const char *ip)
{
    static const struct slice NAME = { (const uint8_t *)"X-Forwarded-For", 15 };
    const struct fields *f = &ex->request.fields;
    size_t n = strlen(ip), at = 0;
    for (size_t i = 0; i < f->count; i++)
        if (slice_eq_nocase(f->lines[i].name, NAME))
            n += f->lines[i].value.n + 1;
    char *all = arena_alloc(&ex->arena, n + 1);
    if (all == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < f->count; i++) {
        struct slice value = f->lines[i].value;
        if (!slice_eq_nocase(f->lines[i].name, NAME) || value.n == 0)
            continue;
        memcpy(all + at, value.p, value.n);
        at += value.n;
        all[at++] = ',';
    }
    memcpy(all + at, ip, strlen(ip) + 1);
    return fields_set(&ex->request.fields, NAME, slice_str(all));
}

/* ---- Cdn-Loop ---- */

/* "adit; loops=3" counts three, "adit" alone one; another member of the list counts none. */
static unsigned loops_of_member(struct slice member)
{
    struct slice part;
    uint64_t count = 1;
    if (!slice_split(&member, ';', &part) || !slice_eq_nocase(slice_trim(part), SLICE("adit")))
        return 0;
    while (slice_split(&member, ';', &part)) {
        part = slice_trim(part);
        if (slice_starts(part, SLICE("loops=")) &&
            slice_u64(slice_sub(part, 6, SIZE_MAX), FORWARD_LOOPS_MAX, &count) < 0)
            count = FORWARD_LOOPS_MAX;
    }
    return (unsigned)count;
}

/* Counts our members over all lines; what others said is joined in *others, when it is wanted. */
static unsigned read_loops(const struct exchange *ex, struct arena *arena, const char **others)
{
    unsigned loops = 0;
    for (size_t i = 0; i < ex->request.fields.count; i++) {
        struct slice rest = ex->request.fields.lines[i].value, member;
        if (!slice_eq_nocase(ex->request.fields.lines[i].name, SLICE("cdn-loop")))
            continue;
        while (slice_split(&rest, ',', &member)) {
            member = slice_trim(member);
            unsigned ours = loops_of_member(member);
            loops = loops + ours < FORWARD_LOOPS_MAX ? loops + ours : FORWARD_LOOPS_MAX;
            if (ours == 0 && member.n > 0 && others != NULL && *others != NULL)
                *others = arena_fmt(arena, "%s%.*s, ", *others, SLICE_FMT(member));
        }
    }
    return loops;
}

unsigned forward_loops(const struct exchange *ex)
{
    return read_loops(ex, NULL, NULL);
}

static const char *next_loop(struct exchange *ex)
{
    const char *others = "";
    unsigned loops = read_loops(ex, &ex->arena, &others);
    char count[U64_TEXT_BYTES];
    if (others == NULL)
        return NULL;
    size_t n = u64_text(loops + 1, count);
    return arena_join(
        &ex->arena,
        (const struct slice[]){ slice_str(others), SLICE("adit; loops="), slice_of(count, n) }, 3);
}

int forward_request(struct exchange *ex, const struct addr *visitor, const char *scheme)
{
    struct fields *f = &ex->request.fields;
    char ip_text[ADDR_TEXT_BYTES], ray_text[RAY_BYTES];
    const char *ip = arena_str(&ex->arena, slice_str(addr_ip_text(visitor, ip_text)));
    const char *ray = arena_str(&ex->arena, slice_str(forward_ray(ex, ray_text)));
    const char *loop = next_loop(ex);
    bool is_https = slice_eq(slice_str(scheme), SLICE("https"));
    if (ip == NULL || ray == NULL || loop == NULL)
        return ERR_NOMEM;
    const struct {
        struct slice name, value;
    } SET[] = {
        { SLICE("Cf-Ray"), slice_str(ray) },
        { SLICE("Cf-Connecting-Ip"), slice_str(ip) },
        { SLICE("Cf-Visitor"),
          is_https ? SLICE("{\"scheme\":\"https\"}") : SLICE("{\"scheme\":\"http\"}") },
        { SLICE("X-Forwarded-Proto"), slice_str(scheme) },
        { SLICE("Cdn-Loop"), slice_str(loop) },
    };
    int r = add_forwarded_for(ex, ip);
    trace_clean(f);
    for (size_t i = 0; i < sizeof SET / sizeof SET[0] && r == 0; i++)
        r = fields_set(f, SET[i].name, SET[i].value);
    if (r == 0 && fields_get(f, SLICE("accept-encoding")) == NULL)
        r = fields_add(f, SLICE("Accept-Encoding"), SLICE("identity"));
    return r;
}

static bool is_of_the_edge(struct slice name)
{
    static const struct slice STARTS[] = { { (const uint8_t *)"cf-", 3 },
                                           { (const uint8_t *)"x-forwarded-", 12 },
                                           { (const uint8_t *)"cdn-loop", 8 },
                                           { (const uint8_t *)"forwarded", 9 } };
    for (size_t i = 0; i < sizeof STARTS / sizeof STARTS[0]; i++)
        if (slice_eq_nocase(slice_sub(name, 0, STARTS[i].n), STARTS[i]))
            return true;
    return false;
}

void forward_trailers(struct exchange *ex)
{
    struct fields *f = ex->up_trailers;
    size_t kept = 0;
    for (size_t i = 0; f != NULL && i < f->count; i++)
        if (!is_of_the_edge(f->lines[i].name))
            f->lines[kept++] = f->lines[i];
    if (f != NULL)
        f->count = kept;
}

int forward_response(struct exchange *ex)
{
    char text[RAY_BYTES];
    const char *ray = arena_str(&ex->arena, slice_str(forward_ray(ex, text)));
    int r = ray != NULL ? fields_set(&ex->response->fields, SLICE("Cf-Ray"), slice_str(ray))
                        : ERR_NOMEM;
    return r == 0 ? http_date_complete(ex) : r;
}
