#include "codec/http1_framing.h"

#include "base/text.h"
#include "codec/http1_int.h"
#include "codec/uri.h"

#define WEBSOCKET_KEY_TEXT_BYTES 24 /* 16 bytes in base64: RFC 6455 §4.1 */

/* One walk over the fields gathers what all the rules need. */
struct facts {
    const struct http1_field *host, *length, *coding;
    const struct http1_field *key, *version;
    bool has_close, has_keep_alive, has_upgrade_option, has_options;
    bool has_upgrade, has_websocket;
    bool has_expect;
    unsigned keys, versions;
};

static int facts_gather(struct http1_head *head, struct facts *ret);
static int length_parse(struct http1_head *head, const struct facts *facts,
                        struct http1_framing *framing);
static int request_body(struct http1_head *head, struct http1_framing *framing,
                        const struct facts *facts);
static int host_pick(struct http1_head *head, struct http1_framing *framing,
                     const struct facts *facts);
static void upgrade_detect(const struct http1_head *head, struct http1_framing *framing,
                           const struct facts *facts);

static bool is_persistent(const struct http1_head *head, const struct facts *facts)
{
    if (facts->has_close)
        return false;
    return head->minor == 1 || facts->has_keep_alive;
}

int http1_request_framing(struct http1_head *head, struct http1_framing *ret)
{
    struct facts facts;
    struct http1_framing out = { .body = HTTP1_BODY_NONE };
    int r = facts_gather(head, &facts);
    if (r == 0)
        r = length_parse(head, &facts, &out);
    if (r == 0)
        r = request_body(head, &out, &facts);
    if (r == 0)
        r = host_pick(head, &out, &facts);
    if (r < 0)
        return r;
    out.is_persistent = is_persistent(head, &facts);
    out.has_options = facts.has_options;
    out.expects_continue = facts.has_expect && head->minor == 1; /* RFC 9110 §10.1.1 */
    upgrade_detect(head, &out, &facts);
    *ret = out;
    return 0;
}

int http1_response_framing(struct http1_head *head, struct http1_asked asked,
                           struct http1_framing *ret)
{
    struct facts facts;
    struct http1_framing out = { .body = HTTP1_BODY_CLOSE };
    int r = facts_gather(head, &facts);
    if (r == 0)
        r = length_parse(head, &facts, &out);
    if (r < 0)
        return r;
    out.is_persistent = is_persistent(head, &facts);
    out.has_options = facts.has_options;
    bool is_interim = head->status < 200;
    bool is_bare = is_interim || head->status == 204;
    if (head->status == 101 || (asked.connect && head->status / 100 == 2)) {
        if (head->status == 101 && !asked.upgrade)
            return http1_refuse(&head->why, HTTP1_WHY_SWITCHED, ERR_PARSE);
        out.body = HTTP1_BODY_TUNNEL;
        out.is_persistent = false;
    } else if (is_bare || head->status == 304 || asked.head) {
        out.body = HTTP1_BODY_NONE;
        /* These may not announce a body (RFC 9112 §6.2): who does may also send one, which would
         * pass for the next response. */
        if (is_bare && (facts.coding != NULL || out.length > 0))
            out.is_persistent = false;
    } else if (facts.coding != NULL) {
        out.body = HTTP1_BODY_CHUNKED;
    } else if (out.has_length) {
        out.body = HTTP1_BODY_LENGTH;
    } else {
        out.is_persistent = false;
    }
    *ret = out;
    return 0;
}

bool http1_field_is_hop(const struct http1_head *head, const struct http1_framing *framing,
                        const struct http1_field *field)
{
    unsigned marks = http1_name_marks(field->known);
    if ((marks & HTTP1_HOP) != 0)
        return true;
    if (!framing->has_options || (marks & HTTP1_END) != 0)
        return false;
    for (size_t i = 0; i < head->fields_count; i++) {
        struct slice rest = head->fields[i].value, option;
        if (head->fields[i].known != HTTP1_CONNECTION)
            continue;
        while (http1_list_next(&rest, &option))
            if (slice_eq_nocase(option, field->name))
                return true;
    }
    return false;
}

/* RFC 9112 §6.1: the only coding that we take is one `chunked`, alone. Empty members, parameters
 * and repetition are where parsers disagree. */
static int coding_check(struct http1_head *head, struct slice value)
{
    if (slice_eq_nocase(value, SLICE("chunked")))
        return 0;
    struct slice member;
    bool is_unknown = false;
    bool was_chunked = false;
    if (value.n == 0)
        return http1_refuse(&head->why, HTTP1_WHY_CODING, ERR_PARSE);
    while (value.p != NULL && slice_split(&value, ',', &member)) {
        member = slice_trim(member);
        if (was_chunked || !http1_is_token(member))
            return http1_refuse(&head->why, HTTP1_WHY_CODING, ERR_PARSE);
        was_chunked = slice_eq_nocase(member, SLICE("chunked"));
        is_unknown = is_unknown || !was_chunked;
    }
    if (is_unknown)
        return http1_refuse(&head->why, HTTP1_WHY_CODING_UNKNOWN, ERR_UNSUPPORTED);
    return 0;
}

static int connection_gather(struct http1_head *head, struct slice value, struct facts *facts)
{
    struct slice option;
    while (http1_list_next(&value, &option)) {
        if (!http1_is_token(option))
            return http1_refuse(&head->why, HTTP1_WHY_CONNECTION, ERR_PARSE);
        if (slice_eq_nocase(option, SLICE("close")))
            facts->has_close = true;
        else if (slice_eq_nocase(option, SLICE("keep-alive")))
            facts->has_keep_alive = true;
        else if (slice_eq_nocase(option, SLICE("upgrade")))
            facts->has_upgrade_option = true;
        else
            facts->has_options = true;
    }
    return 0;
}

static int once(struct http1_head *head, const struct http1_field **slot,
                const struct http1_field *field, enum http1_why why)
{
    if (*slot != NULL)
        return http1_refuse(&head->why, why, ERR_PARSE);
    *slot = field;
    return 0;
}

/* What a field says about the body and the host. */
static int framing_fact_add(struct http1_head *head, const struct http1_field *field,
                            struct facts *facts)
{
    if (field->known == HTTP1_HOST)
        return once(head, &facts->host, field, HTTP1_WHY_HOST_TWICE);
    if (field->known == HTTP1_CONTENT_LENGTH)
        return once(head, &facts->length, field, HTTP1_WHY_LENGTH_TWICE);
    if (field->known == HTTP1_TRANSFER_ENCODING) {
        int r = coding_check(head, field->value);
        return r < 0 ? r : once(head, &facts->coding, field, HTTP1_WHY_CODING);
    }
    return 0;
}

/* What a field says about the connection. */
static int connection_fact_add(struct http1_head *head, const struct http1_field *field,
                               struct facts *facts)
{
    struct slice rest = field->value, member;
    if (field->known == HTTP1_CONNECTION)
        return connection_gather(head, field->value, facts);
    if (field->known == HTTP1_UPGRADE) {
        facts->has_upgrade = true;
        while (http1_list_next(&rest, &member))
            if (slice_eq_nocase(member, SLICE("websocket")))
                facts->has_websocket = true;
    } else if (field->known == HTTP1_EXPECT) {
        facts->has_expect = true;
        if (head->method.n > 0 && !slice_eq_nocase(field->value, SLICE("100-continue")))
            return http1_refuse(&head->why, HTTP1_WHY_EXPECT, ERR_UNSUPPORTED);
    } else if (field->known == HTTP1_SEC_WEBSOCKET_KEY) {
        facts->key = field;
        facts->keys++;
    } else if (field->known == HTTP1_SEC_WEBSOCKET_VERSION) {
        facts->version = field;
        facts->versions++;
    }
    return 0;
}

static int facts_gather(struct http1_head *head, struct facts *ret)
{
    struct facts facts = { 0 };
    for (size_t i = 0; i < head->fields_count; i++) {
        if (head->fields[i].known == HTTP1_OTHER)
            continue;
        int r = framing_fact_add(head, &head->fields[i], &facts);
        if (r == 0)
            r = connection_fact_add(head, &head->fields[i], &facts);
        if (r < 0)
            return r;
    }
    if (facts.coding != NULL && facts.length != NULL)
        return http1_refuse(&head->why, HTTP1_WHY_LENGTH_AND_CODING, ERR_PARSE);
    if (facts.coding != NULL && head->minor == 0)
        return http1_refuse(&head->why, HTTP1_WHY_CODING_VERSION, ERR_PARSE);
    *ret = facts;
    return 0;
}

/* Digits alone: no sign, no list, no space within (RFC 9112 §6.3, case 5). */
static int length_parse(struct http1_head *head, const struct facts *facts,
                        struct http1_framing *framing)
{
    if (facts->length == NULL)
        return 0;
    if (slice_u64(facts->length->value, INT64_MAX, &framing->length) < 0)
        return http1_refuse(&head->why, HTTP1_WHY_LENGTH, ERR_PARSE);
    framing->has_length = true;
    return 0;
}

static int request_body(struct http1_head *head, struct http1_framing *framing,
                        const struct facts *facts)
{
    if (facts->coding != NULL)
        framing->body = HTTP1_BODY_CHUNKED;
    else if (framing->length > 0)
        framing->body = HTTP1_BODY_LENGTH;
    /* What follows a CONNECT is the tunnel's: a body before it has no meaning (RFC 9110 §9.3.6). */
    if (framing->body != HTTP1_BODY_NONE && head->form == HTTP1_AUTHORITY)
        return http1_refuse(&head->why, HTTP1_WHY_CONNECT_BODY, ERR_PARSE);
    return 0;
}

/* Whether Host says what the target's authority says. A port that is missing is the scheme's, or
 * for CONNECT, where some clients leave it out, that of the target. */
static bool is_same_host(const struct http1_head *head, struct slice host)
{
    struct host_port a, b;
    if (host_port_parse(head->authority, &a) < 0 || host_port_parse(host, &b) < 0)
        return false;
    unsigned usual = head->form == HTTP1_AUTHORITY                   ? a.port
                     : slice_eq_nocase(head->scheme, SLICE("https")) ? 443
                                                                     : 80;
    unsigned port_a = a.has_port ? a.port : usual, port_b = b.has_port ? b.port : usual;
    return a.is_ipv6 == b.is_ipv6 && slice_eq_nocase(a.host, b.host) && port_a == port_b;
}

/* RFC 9112 §3.2: HTTP/1.1 has exactly one Host, also when the target names the authority. A client
 * must send the same in both, and of two names one is for whoever looks at the other: refused. */
static int host_pick(struct http1_head *head, struct http1_framing *framing,
                     const struct facts *facts)
{
    if (facts->host == NULL && head->minor == 1)
        return http1_refuse(&head->why, HTTP1_WHY_HOST_MISSING, ERR_PARSE);
    if (facts->host != NULL && !http1_is_host(facts->host->value))
        return http1_refuse(&head->why, HTTP1_WHY_HOST, ERR_PARSE);
    bool has_authority = head->form == HTTP1_ABSOLUTE || head->form == HTTP1_AUTHORITY;
    if (has_authority && facts->host != NULL && !is_same_host(head, facts->host->value))
        return http1_refuse(&head->why, HTTP1_WHY_HOST_CONFLICT, ERR_PARSE);
    if (has_authority)
        framing->host = head->authority;
    else if (facts->host != NULL)
        framing->host = facts->host->value;
    return 0;
}

static bool websocket_key_is_sound(struct slice key)
{
    uint8_t bytes[WEBSOCKET_KEY_TEXT_BYTES / 4 * 3 + 3];
    size_t n;
    return key.n == WEBSOCKET_KEY_TEXT_BYTES &&
           base64_decode(key, BASE64_STD, true, false, bytes, &n) == 0 && n == 16;
}

/* A request with a body never upgrades: where its body ends and the new protocol begins is one more
 * thing to disagree on. */
static void upgrade_detect(const struct http1_head *head, struct http1_framing *framing,
                           const struct facts *facts)
{
    if (!facts->has_upgrade || !facts->has_upgrade_option || head->minor == 0)
        return;
    framing->upgrade = HTTP1_UPGRADE_OTHER;
    if (!facts->has_websocket || !slice_eq(head->method, SLICE("GET")) ||
        framing->body != HTTP1_BODY_NONE || facts->keys != 1 || facts->versions != 1)
        return;
    if (!slice_eq(facts->version->value, SLICE("13")) || !websocket_key_is_sound(facts->key->value))
        return;
    framing->upgrade = HTTP1_UPGRADE_WEBSOCKET;
    framing->websocket_key = facts->key->value;
}
