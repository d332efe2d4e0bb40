#include "connector/access.h"

#include "base/err.h"
#include "base/log.h"
#include "connector/access_keys.h"
#include "connector/access_policy.h"
#include "connector/builtin.h"

#define ASSERTION    "Cf-Access-Jwt-Assertion"
#define PREFIX       "error while processing middleware handler AccessJWTValidator: "
#define NBF_LEEWAY_S 300 /* what the reference forgives a clock that is behind */
#define USEC_PER_S   1000000

/* An exchange whose token waits for keys: its right side meanwhile. In the exchange's arena. */
struct access_wait {
    struct task task;
    struct key_wait wait;
    struct serve *serve;
    struct exchange *ex;
    struct ingress *ingress; /* counted: the rule is one of its */
    const struct rule *rule;
    struct key_source *source; /* counted */
    struct jwt token;
};

/* ---- verdicts ---- */

/* Always false: the exchange has its answer. */
static bool refuse(struct exchange *ex, const char *why)
{
    log_debug("access refused", LSTR("request", ex->id), LSLICE("host", ex->request.host),
              LSTR("why", why));
    builtin_status(ex, 403);
    return false;
}

static bool fail(struct exchange *ex, const char *why)
{
    const char *text = arena_fmt(&ex->arena, PREFIX "%s", why);
    log_debug("access refused", LSTR("request", ex->id), LSLICE("host", ex->request.host),
              LSTR("why", why));
    exchange_fail_as(ex, FAILURE_ACCESS_UNVERIFIED, ERR_AUTH, text != NULL ? text : PREFIX);
    return false;
}

/* ---- checks, in the reference's order ---- */

static const char *check_claims(const struct jwt *t, const struct access_policy *p,
                                struct exchange *ex)
{
    int64_t now = clock_wall_us() / USEC_PER_S;
    const char *text = NULL;
    if (p->issuer.n == 0)
        return "the rule names no issuer (access.teamName)";
    if (!slice_eq(t->issuer, p->issuer)) {
        text = arena_fmt(&ex->arena,
                         "oidc: id token issued by a different provider, expected \"%.*s\"",
                         SLICE_FMT(p->issuer));
        return text != NULL ? text : "oidc: id token issued by a different provider";
    }
    if (!t->has_expiry || now >= t->expires)
        return t->has_expiry ? "oidc: token is expired" : "oidc: token has no expiry";
    if (t->not_before != 0 && now + NBF_LEEWAY_S < t->not_before)
        return "oidc: current time before the nbf (not before) time";
    return NULL;
}

static bool check_audience(struct exchange *ex, const struct access_policy *p, const struct jwt *t)
{
    for (size_t i = 0; i < p->audience_count; i++)
        if (jwt_has_audience(t, p->audiences[i]))
            return true;
    return refuse(ex, "the token is for another audience");
}

static const char *no_key(const struct key_source *s)
{
    const char *failure = key_source_failure(s);
    return failure[0] != 0 ? failure : "failed to verify signature: no key of the issuer made it";
}

/* ---- waiting for keys ---- */

static void wait_done(struct access_wait *w)
{
    key_wait_end(&w->wait);
    key_source_unref(w->source);
    jwt_done(&w->token);
    task_done(&w->task);
}

/* w lives in the exchange's arena: not to be touched afterwards. */
static void wait_leave(struct access_wait *w)
{
    struct exchange *ex = w->ex;
    struct ingress *ingress = w->ingress;
    wait_done(w);
    ingress_unref(ingress);
    exchange_leave(ex, EX_RIGHT);
}

/* The fetch is over: what is there now decides. */
static void wait_run(struct task *t)
{
    struct access_wait *w = container_of(t, struct access_wait, task);
    struct exchange *ex = w->ex;
    if (exchange_has_failed(ex) || exchange_has_left(ex, EX_LEFT)) {
        wait_leave(w);
        return;
    }
    if (list_has_neighbours(&w->wait.node))
        return;
    struct serve *serve = w->serve;
    struct ingress *ingress = w->ingress;
    const struct rule *rule = w->rule;
    int r = key_source_check(w->source, &w->token);
    bool is_good = false;
    if (r < 0)
        (void)fail(ex, r == ERR_AUTH ? "failed to verify signature" : no_key(w->source));
    else
        is_good = check_audience(ex, rule->access, &w->token);
    wait_done(w);
    exchange_detach(ex);
    if (is_good)
        serve_admitted(serve, ex, rule, ingress);
    ingress_unref(ingress);
}

/* Takes over source and token. */
static bool wait_start(struct serve *s, struct exchange *ex, const struct rule *rule,
                       struct key_source *source, struct jwt *token)
{
    struct access_wait *w = arena_alloc(&ex->arena, sizeof *w);
    if (w == NULL) {
        key_source_unref(source);
        jwt_done(token);
        return fail(ex, "out of memory");
    }
    *w = (struct access_wait){ .serve = s, .ex = ex, .rule = rule, .source = source };
    w->token = *token;
    w->wait.task = &w->task;
    list_init(&w->wait.node);
    task_init(&w->task, s->loop, wait_run);
    if (!key_source_want(source, &w->wait)) {
        (void)fail(ex, no_key(source));
        wait_done(w);
        return false;
    }
    w->ingress = ingress_ref(s->ingress);
    exchange_attach(ex, &w->task);
    return false;
}

/* ---- */

static bool admit_token(struct serve *s, struct exchange *ex, const struct rule *rule,
                        struct jwt *token)
{
    struct key_source *source = key_source_of(s->access_keys, rule->access);
    if (source == NULL) {
        jwt_done(token);
        return fail(ex, "out of memory");
    }
    int r = key_source_check(source, token);
    if (r == ERR_NOTFOUND)
        return wait_start(s, ex, rule, source, token);
    bool is_good =
        r == 0 ? check_audience(ex, rule->access, token) : fail(ex, "failed to verify signature");
    key_source_unref(source);
    jwt_done(token);
    return is_good;
}

bool access_admit(struct serve *s, struct exchange *ex, const struct rule *rule)
{
    const struct field *assertion = fields_get(&ex->request.fields, SLICE(ASSERTION));
    struct fault fault = { 0 };
    struct jwt token;
    if (rule->access == NULL)
        return true;
    if (assertion == NULL || assertion->value.n == 0)
        return refuse(ex, "there is no token");
    /* The service might look at another one than we do. */
    if (fields_count(&ex->request.fields, SLICE(ASSERTION)) > 1)
        return fail(ex, "there are several tokens");
    if (jwt_parse(assertion->value, &token, &fault) < 0)
        return fail(ex, fault.text);
    const char *why = check_claims(&token, rule->access, ex);
    if (why != NULL) {
        jwt_done(&token);
        return fail(ex, why);
    }
    return admit_token(s, ex, rule, &token);
}
