#pragma once
/* What the files of the API share. */
#include "control/api.h"

/* One request on its way. */
struct call {
    struct api *api;
    const struct api_request *q;
    struct api_response *r;
    struct slice parts[12]; /* of the path behind /client/v4, still escaped */
    size_t part_count;
    char id[UUID_TEXT_BYTES];
    struct uuid tunnel;
};

/* ---- answers ---- */
/* Takes the result over (NULL gives null). */
void answer(struct call *c, json_t *result);
/* The same with messages, for paths whose clients take objects there. */
void answer_said(struct call *c, json_t *result, json_t *messages);
struct page {
    uint64_t page, per_page, total;
};
void answer_list(struct call *c, json_t *result, const struct page *p);
void answer_error(struct call *c, unsigned status, int code, const char *message);
void answer_no_route(struct call *c);  /* 404 */
void answer_no_method(struct call *c); /* 405 */

/* ---- requests ---- */
/* A query parameter, decoded, in the arena; empty when it is absent. */
struct slice query_of(struct call *c, const char *name);
bool has_query(struct call *c, const char *name);
/* page and per_page; answers 400 and gives false when they are not numbers in range. */
bool take_page(struct call *c, uint64_t per_page_default, uint64_t per_page_max, struct page *ret);
/* The JSON object of the body, or NULL after answering 400. The caller frees it. */
json_t *take_body(struct call *c);
json_t *json_time(struct call *c, int64_t us); /* null for 0 */
/* The tunnel of the path; answers and gives false when it is not there, or deleted unless
 * `deleted_too`. */
bool take_tunnel(struct call *c, bool deleted_too, struct tunnel *ret);
void audit(struct call *c, const char *action, const char *object);

/* ---- handlers ---- */
void tunnels_collection(struct call *c);     /* /accounts/A/cfd_tunnel */
void tunnels_item(struct call *c);           /* /accounts/A/cfd_tunnel/T… */
void tunnels_configurations(struct call *c); /* …/configurations */
void routes_put(struct call *c);             /* /zones/Z/tunnels/T/routes */
void dns_records(struct call *c);            /* /zones/Z/dns_records… */
void routes_balance(struct call *c);         /* /zones/Z/adit/routes/HOSTNAME/balance */
void identity(struct call *c);               /* /user…, /accounts…, /zones… */
void quick_create(struct call *c);           /* POST /tunnel */

/* Puts how a route's requests are shared into the snapshot. What the store has and this program
 * does not understand counts as the preset, with a warning. ERR_NOMEM. */
int balance_publish(struct snapshot *s, const struct dns_route *route)
    __attribute__((warn_unused_result));
/* Words for quick tunnels. */
void quick_words(struct call *c, char *ret, size_t size);
/* A hostname in lower case. What is not in the zone of the path is taken as relative to it. NULL
 * when it is none. */
const char *take_hostname(struct call *c, struct slice text, char ret[static 256]);
/* The domain that a hostname belongs to, or NULL. */
const char *domain_of(const struct api *api, struct slice hostname);
/* The connections of a tunnel as the API shows them. */
json_t *connections_json(struct call *c, const struct uuid *tunnel, const struct uuid *connector);
/* The tunnel token, in the arena. */
char *token_of(struct call *c, const struct tunnel *t);
