/* What an exchange brings along for the choice of its replica: the visitor's address, and the
 * cookie of an earlier choice; and the cookie that it takes away. */
#include <inttypes.h>
#include <netinet/in.h>

#include "base/err.h"
#include "base/map.h"
#include "edge/balance.h"

/* ---- what stands for a replica in the cookie ---- */

static uint64_t tag_of(const uint64_t secret[2], struct slice name)
{
    uint64_t tag = map_hash(secret, name);
    return tag != 0 ? tag : 1;
}

uint64_t affinity_connector_tag(const struct balance_ask *a, const struct link *l)
{
    return tag_of(a->secret, slice_of(l->connector.bytes, sizeof l->connector.bytes));
}

uint64_t affinity_label_tag(const struct balance_ask *a, const struct link *l)
{
    return l->label[0] != 0 ? tag_of(a->secret, slice_str(l->label)) : 0;
}

/* ---- what the visitor shows ---- */

/* The address that stays: all of IPv4, and of IPv6 the network, since machines change the rest by
 * the hour. */
static uint64_t visitor_of(const struct addr *visitor)
{
    static const uint64_t SEED[2] = { 0x76697369746f72, 0x61646472657373 };
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (visitor->sa.ss_family == AF_INET) {
        memcpy(&v4, &visitor->sa, sizeof v4);
        return map_hash(SEED, slice_of(&v4.sin_addr, sizeof v4.sin_addr));
    }
    if (visitor->sa.ss_family != AF_INET6)
        return 0;
    memcpy(&v6, &visitor->sa, sizeof v6);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
        return map_hash(SEED, slice_of(v6.sin6_addr.s6_addr + 12, 4));
    return map_hash(SEED, slice_of(v6.sin6_addr.s6_addr, 8));
}

static bool tag_read(struct slice hex, uint64_t *ret)
{
    uint8_t bytes[8];
    if (hex.n != 2 * sizeof bytes || hex_decode(hex, bytes) < 0)
        return false;
    *ret = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        *ret = *ret << 8 | bytes[i];
    return true;
}

static bool is_ours(struct slice pair, struct slice *ret_value)
{
    static const struct slice NAME = { (const uint8_t *)AFFINITY_COOKIE_NAME "=",
                                       sizeof AFFINITY_COOKIE_NAME };
    pair = slice_trim(pair);
    if (!slice_starts(pair, NAME))
        return false;
    *ret_value = slice_sub(pair, NAME.n, SIZE_MAX);
    return true;
}

static void take_value(struct balance_ask *a, struct slice value)
{
    a->has_cookie = value.n == AFFINITY_VALUE_BYTES - 1 &&
                    tag_read(slice_sub(value, 0, 16), &a->connector_tag) &&
                    tag_read(slice_sub(value, 16, 16), &a->label_tag);
}

/* One Cookie line without our pair; the first of them counts. 1 when it had any, 0, ERR_NOMEM. */
static int clean_line(struct balance_ask *a, struct field *line, struct arena *arena)
{
    struct slice rest = line->value, pair, value;
    bool has_ours = false;
    while (slice_split(&rest, ';', &pair))
        has_ours |= is_ours(pair, &value);
    if (!has_ours)
        return 0;
    uint8_t *kept = arena_alloc(arena, 2 * line->value.n + 1); /* with spaces */
    size_t n = 0;
    if (kept == NULL)
        return ERR_NOMEM;
    rest = line->value;
    while (slice_split(&rest, ';', &pair)) {
        if (is_ours(pair, &value)) {
            if (!a->has_cookie)
                take_value(a, value);
            continue;
        }
        pair = slice_trim(pair);
        if (n > 0)
            kept[n++] = ';', kept[n++] = ' ';
        if (pair.n > 0)
            memcpy(kept + n, pair.p, pair.n);
        n += pair.n;
    }
    line->value = slice_of(kept, n);
    return 1;
}

static int take_cookie(struct balance_ask *a, struct exchange *ex)
{
    struct fields *f = &ex->request.fields;
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct field line = f->lines[i];
        bool is_cookie = slice_eq_nocase(line.name, SLICE("cookie"));
        int r = is_cookie ? clean_line(a, &line, &ex->arena) : 0;
        if (r < 0)
            return r;
        if (r == 0 || line.value.n > 0)
            f->lines[kept++] = line;
    }
    f->count = kept;
    return 0;
}

int balance_ask_init(struct balance_ask *a, struct balance_rule *rule, const uint64_t secret[2],
                     struct exchange *ex, const struct addr *visitor, bool is_https)
{
    *a = (struct balance_ask){ .secret = { secret[0], secret[1] }, .is_https = is_https };
    if (rule == NULL)
        return 0;
    if (rule->balance.affinity == AFFINITY_COOKIE && take_cookie(a, ex) < 0)
        return ERR_NOMEM;
    a->visitor = visitor_of(visitor);
    a->rule = balance_rule_ref(rule);
    return 0;
}

void balance_ask_done(struct balance_ask *a)
{
    balance_rule_unref(a->rule);
    a->rule = NULL;
}

const char *balance_cookie(const struct balance_ask *a, const struct link *l, struct arena *arena)
{
    if (a->result != AFFINITY_NEW && a->result != AFFINITY_LOST)
        return NULL;
    if (l->is_stand_in) /* the replica that answers is chosen elsewhere, and comes over soon */
        return NULL;
    return arena_fmt(arena,
                     AFFINITY_COOKIE_NAME "=%016" PRIx64 "%016" PRIx64
                                          "; Path=/; Max-Age=%u; HttpOnly; SameSite=Lax%s",
                     affinity_connector_tag(a, l), affinity_label_tag(a, l),
                     a->rule->balance.affinity_ttl, a->is_https ? "; Secure" : "");
}

const char *affinity_result_text(enum affinity_result r)
{
    static const char *const TEXTS[] = { "unused", "hit", "lost", "away", "new" };
    return TEXTS[r];
}
