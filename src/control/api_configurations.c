/* /accounts/A/cfd_tunnel/T/configurations (docs/protocol.md §15): what the edge tells the tunnel's
 * connectors to serve, or what they say that they serve by files of their own. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "control/api_int.h"

#define INVALID "Bad Configuration: Validation failed: "
#define LAST_RULE                                                                                  \
    "The last ingress rule must match all URLs (i.e. it should not have a hostname or path "       \
    "filter)\n"

/* ---- what may be put ---- */

/* A text, or not there. */
static bool is_text(const json_t *rule, const char *key)
{
    const json_t *value = json_object_get(rule, key);
    return value == NULL || json_is_null(value) || json_is_string(value);
}

static const char *check_rule(const json_t *rule, bool is_last)
{
    const json_t *settings = json_object_get(rule, "originRequest");
    struct slice hostname = json_member_slice(rule, "hostname");
    if (!json_is_object(rule))
        return "An ingress rule must be an object\n";
    if (!is_text(rule, "hostname") || !is_text(rule, "path") || !is_text(rule, "service"))
        return "The hostname, path and service of an ingress rule must be texts\n";
    if (json_member_slice(rule, "service").n == 0)
        return "An ingress rule has no service\n";
    if (settings != NULL && !json_is_null(settings) && !json_is_object(settings))
        return "The originRequest of an ingress rule must be an object\n";
    bool is_any = hostname.n == 0 || slice_eq(hostname, SLICE("*"));
    return is_last && (!is_any || json_member_slice(rule, "path").n > 0) ? LAST_RULE : NULL;
}

/* As far as the reference's API looks; the connector looks further, and may refuse it. NULL, or
 * what is wrong. */
static const char *check(const json_t *config)
{
    const json_t *rules = json_object_get(config, "ingress"), *rule;
    size_t i, count = json_array_size(rules);
    const char *wrong = NULL;
    if (!json_is_object(config))
        return "config must be an object\n";
    if (rules != NULL && !json_is_null(rules) && !json_is_array(rules))
        return "ingress must be a list of rules\n";
    if (count == 0)
        return "The config file doesn't contain any ingress rules\n";
    json_array_foreach(rules, i, rule)
    {
        wrong = check_rule(rule, i + 1 == count);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

/* ---- answers ---- */

static void show(struct call *c, const struct tunnel *t, int version, json_t *config,
                 int64_t created_us)
{
    json_t *o = json_pack("{s:s,s:s,s:i,s:s}", "account_id", c->api->account, "tunnel_id", c->id,
                          "version", version, "source", t->is_remote ? "cloudflare" : "local");
    (void)json_object_set_new(o, "config", config != NULL ? config : json_null());
    (void)json_object_set_new(o, "created_at", json_time(c, created_us));
    answer(c, o);
}

static void answer_unread(struct call *c)
{
    answer_error(c, 500, 1000, "The database could not be read");
}

/* Takes the config over. */
static void keep(struct call *c, struct tunnel *t, json_t *config)
{
    struct strb text;
    int version;
    strb_init(&text, REMOTE_CONFIG_BYTES_MAX);
    json_write(&text, config);
    int r = text.err;
    if (r == 0)
        r = store_config_put(c->api->store, &t->id, text.p, c->q->now_us, &version);
    strb_done(&text);
    if (r < 0) {
        json_decref(config);
        if (r == ERR_LIMIT)
            answer_error(c, 400, 1056, INVALID "The configuration is too large\n");
        else
            answer_error(c, 500, 1000, "The database could not be written");
        return;
    }
    t->is_remote = true;
    rollout_want(c->api->rollout, &t->id, version, c->q->now);
    c->api->configurations_changed = true;
    audit(c, "tunnel.configure", c->id);
    show(c, t, version, config, c->q->now_us);
}

static void put(struct call *c, struct tunnel *t)
{
    char message[256];
    json_t *body = take_body(c);
    if (body == NULL)
        return;
    json_t *config = json_incref(json_object_get(body, "config"));
    json_decref(body);
    const char *wrong = check(config);
    if (wrong != NULL) {
        (void)snprintf(message, sizeof message, INVALID "%s", wrong);
        json_decref(config);
        answer_error(c, 400, 1056, message);
        return;
    }
    if (json_object_get(config, "warp-routing") == NULL)
        (void)json_object_set_new(config, "warp-routing", json_pack("{s:b}", "enabled", 0));
    keep(c, t, config);
}

static void get_remote(struct call *c, const struct tunnel *t)
{
    struct store_config found = { .created_us = t->created_us };
    json_t *config = NULL;
    int r = store_config_get(c->api->store, &t->id, &found);
    if (r == 0)
        r = json_parse(slice_str(found.json), &config, NULL);
    free(found.json);
    if (r == 0 || r == ERR_NOTFOUND)
        show(c, t, found.version, config, found.created_us);
    else
        answer_unread(c);
}

static void get_local(struct call *c, const struct tunnel *t)
{
    struct slice text = live_reported(c->api->live, &t->id);
    json_t *config = NULL;
    if (text.n > 0 && json_parse_last_wins(text, &config, NULL) < 0)
        config = NULL;
    show(c, t, 0, config, t->created_us);
}

void tunnels_configurations(struct call *c)
{
    struct tunnel t;
    if (!take_tunnel(c, true, &t))
        return;
    explicit_bzero(t.secret, sizeof t.secret);
    if (t.deleted_us != 0)
        answer_error(c, 404, 1055, "Configuration for tunnel not found");
    else if (slice_eq(c->q->method, SLICE("PUT")))
        put(c, &t);
    else if (t.is_remote)
        get_remote(c, &t);
    else
        get_local(c, &t);
}
