#include "edge/config_wire.h"

#include "base/err.h"

/* The reference's answer over HTTP/2 loses its text. */
#define NO_TEXT "the connector refused it; its log says why"

void config_body_write(struct strb *to, int32_t version, struct slice json)
{
    strb_fmt(to, "{\"version\":%d,\"config\":", version);
    strb_add(to, json);
    strb_char(to, '}');
}

/* Whether a control character begins here; its second byte is one of the same when it has two. */
static bool is_control(struct slice text, size_t at)
{
    uint8_t c = text.p[at], before = at > 0 ? text.p[at - 1] : 0;
    uint8_t after = at + 1 < text.n ? text.p[at + 1] : 0;
    return c < 0x20 || c == 0x7f || (c == 0xc2 && after >= 0x80 && after < 0xa0) ||
           (before == 0xc2 && c >= 0x80 && c < 0xa0);
}

void config_text_put(struct config_push *p, struct slice text)
{
    size_t n = text.n < sizeof p->text ? text.n : sizeof p->text - 1;
    /* What is cut may end inside a character, of four bytes at most. */
    for (unsigned i = 0; i < 3 && n < text.n && !slice_is_utf8(slice_sub(text, 0, n)); i++)
        n--;
    if (!slice_is_utf8(slice_sub(text, 0, n))) {
        text = SLICE(NO_TEXT);
        n = text.n;
    }
    /* It is shown on terminals, which do what such characters tell them. */
    for (size_t i = 0; i < n; i++)
        p->text[i] = is_control(text, i) ? ' ' : (char)text.p[i];
    p->text[n] = 0;
}

int config_result_read(const struct capnp_struct *results, struct config_push *ret)
{
    struct configuration_result result;
    int r = configuration_result_read(results, &result);
    if (r < 0)
        return r;
    ret->applied = result.applied;
    config_text_put(ret, result.err);
    return 0;
}

int config_body_read(struct slice body, struct config_push *ret)
{
    json_t *root;
    int r = json_parse_last_wins(body, &root, NULL);
    if (r < 0)
        return r;
    const json_t *applied = json_object_get(root, "lastAppliedVersion"),
                 *err = json_object_get(root, "err");
    struct slice text = json_member_slice(root, "text");
    json_int_t version = json_integer_value(applied);
    if (!json_is_integer(applied) || version != (int32_t)version)
        r = ERR_PARSE;
    if (r == 0) {
        bool is_taken = err == NULL || json_is_null(err);
        ret->applied = (int32_t)version;
        config_text_put(ret, is_taken ? SLICE("") : text.n > 0 ? text : SLICE(NO_TEXT));
    }
    json_decref(root);
    return r;
}
