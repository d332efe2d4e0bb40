#pragma once
/* What a connector has seen of its connections, for its metrics and its diagnostics: families whose
 * labels are not known beforehand (connector/families.def). On the supervisor's thread. */
#include "base/metric.h"
#include "connector/connection.h"
#include "mux/quic.h"

#define SEEN_REFUSALS_MAX 16 /* an edge chooses the texts */
#define SEEN_TEXT_BYTES   96

enum connector_family {
#define FAMILY(id, ...) FAMILY_##id,
#include "connector/families.def"
#undef FAMILY
};
const struct metric_family *connector_family(enum connector_family id);

struct seen_connection {
    char location[SEEN_TEXT_BYTES]; /* that it registered at last */
    struct addr edge;
    enum transport_kind transport;
    bool is_open; /* quic is filled */
    struct quic_stats quic;
};

struct seen {
    struct seen_connection connections[TUNNEL_CONNECTIONS_MAX];
    struct {
        char text[SEEN_TEXT_BYTES];
        uint64_t count;
    } refusals[SEEN_REFUSALS_MAX];
    size_t refusal_count;
    uint64_t other_refusals;
};

void seen_take(struct seen *s, const struct connection_news *n);

/* One connector's, and what tells it from others (`tunnel="…"`), or NULL. */
struct seen_group {
    const struct seen *seen;
    const char *labels;
};
void seen_page(const struct seen_group *groups, size_t count, struct strb *to);
