"""Every metric of the platform, with its unit. Labels never hold the id of a flux."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter(
    "heliotrope_messages_total", "Messages settled, by what became of them.", ["group", "kind", "outcome"]
)
HANDLING_SECONDS = Histogram(
    "heliotrope_handling_seconds", "Time to handle one message, in seconds.", ["group", "kind"]
)
RETRYING = Gauge(
    "heliotrope_retrying", "Messages waiting because an outside party does not answer.", ["group", "party"]
)
PARKED = Counter("heliotrope_parked_total", "Messages parked because they could not be read.", ["group"])
ORDER_INDEX = Gauge("heliotrope_order_index", "Index of the last fact ordered in the one history.")
UNORDERED_SECONDS = Gauge("heliotrope_unordered_seconds", "Age of the oldest fact still without an index, seconds.")
PUBLISHED_INDEX = Gauge("heliotrope_published_index", "Index of the last fact published to Kafka.")
IMPORTED_BYTES = Counter("heliotrope_imported_bytes_total", "Bytes of flux imported.")
REFUSED = Counter("heliotrope_refused_total", "Requests refused, by reason.", ["reason"])
JUDGED = Counter("heliotrope_judged_total", "Files judged, by verdict.", ["verdict"])
WORKERS_LOST = Counter("heliotrope_workers_lost_total", "Worker processes that died of a file, or took too long.")
SIGNATURES_EXAMINED = Counter(
    "heliotrope_signatures_examined_total", "Documents whose signatures were verified, by verdict.", ["verdict"]
)
VERIFIERS_DISAGREED = Counter(
    "heliotrope_verifiers_disagreed_total", "Flux stopped because our verification and signxml's disagree."
)
CERTIFICATES_EXPIRING = Gauge(
    "heliotrope_certificates_expiring", "Certificates that expire within 90 days, or have expired.", ["kind"]
)
TRANSMITTED_BYTES = Counter("heliotrope_transmitted_bytes_total", "Bytes of flux sent to DGFiP.")
HELD = Gauge("heliotrope_held", "Flux whose sending is suspended: nobody can tell whether DGFiP has the file.")
REPLIES = Counter(
    "heliotrope_replies_total",
    "Files collected from DGFiP, by what they turned out to be; and links without effect.",
    ["outcome"],
)
REPLIES_SET_ASIDE = Gauge(
    "heliotrope_replies_set_aside",
    "Replies left with DGFiP: the flux that they may answer cannot be read.",
)
LAST_COLLECTION = Gauge(
    "heliotrope_last_collection_timestamp_seconds", "When replies were last looked for, Unix time."
)
VIEW_INDEX = Gauge("heliotrope_view_index", "Index of the last fact shown in the lists.")
