//! The one table of families: name, type, labels and HELP of every series that this program exports.

use super::family::{Family, Kind};

/// What this binary was built from.
pub const BUILD: [(&str, &str); 4] = [
    ("version", env!("CARGO_PKG_VERSION")),
    ("revision", env!("BUILD_REVISION")),
    ("branch", env!("BUILD_BRANCH")),
    ("rustversion", env!("BUILD_RUSTVERSION")),
];

/// Declares the families: the name's constant, type, labels and HELP, in the order of the exposition.
macro_rules! families {
    ($($(#[$attribute:meta])* $constant:ident $kind:ident $name:literal [$($label:literal)*] $help:literal)*) => {
        $($(#[$attribute])* pub(super) static $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// Every family, in the order in which they are exported.
        pub static FAMILIES: &[&Family] = &[$($(#[$attribute])* &$constant),*];
    };
}

families! {
    USAGE Gauge "partner_license_usage_percent" ["service" "workload" "channel"]
        "Share of qualified licences in use, scale 0-100, may exceed 100: proratedLicensesUsagePercent of Partner Center's /v1/analytics/licenses/usage, or active by qualified licences of its successor, polled in the background and cached."
    PROCESSED Gauge "partner_license_usage_processed_timestamp_seconds" ["service" "workload" "channel"]
        "When Microsoft aggregated the row, usually days ago: processedDateTime of Partner Center's /v1/analytics/licenses/usage or its successor, polled in the background and cached."
    THRESHOLD Gauge "partner_license_usage_threshold_percent" ["service" "workload" "channel"]
        "Configured threshold, scale 0-100: usage below it counts as low; absent for muted rows."
    ACTIVE Gauge "partner_license_usage_active_licenses" ["service" "workload" "channel"]
        "Licences in use, of those that qualify: the sum of licensesActive; absent where the source has no numbers."
    QUALIFIED Gauge "partner_license_usage_qualified_licenses" ["service" "workload" "channel"]
        "Licences that qualify for the workload: the sum of licensesQualified; absent where the source has no numbers."
    SOURCE Gauge "partner_license_usage_source_info" ["source"]
        "A metric with a constant '1' value labeled by where the usage rows that are served came from: licenses, or commercial, its successor."
    DEPLOYMENT Gauge "partner_license_deployment_percent" ["service" "channel"]
        "Share of sold licences that is assigned, scale 0-100, may exceed 100: proratedDeploymentPercent, or the sum of licensesDeployed in that of licensesSold."
    SOLD Gauge "partner_license_deployment_sold_licenses" ["service" "channel"]
        "Licences sold: licensesSold; absent where the source does not say."
    DEPLOYED Gauge "partner_license_deployment_deployed_licenses" ["service" "channel"]
        "Licences assigned to users: licensesDeployed; absent where the source does not say."
    DEPLOYMENT_PROCESSED Gauge "partner_license_deployment_processed_timestamp_seconds" ["service" "channel"]
        "When Microsoft aggregated the row, usually days ago: processedDateTime of the deployment collection."
    CUSTOMER_ACTIVE Gauge "partner_license_customer_active_licenses" ["customer" "service" "workload" "channel"]
        "Licences of one customer that are in use, summed over products: licensesActive; only the rows that the setting series admits."
    CUSTOMER_QUALIFIED Gauge "partner_license_customer_qualified_licenses" ["customer" "service" "workload" "channel"]
        "Licences of one customer that qualify for the workload, summed over products: licensesQualified; only the rows that the setting series admits."
    CUSTOMER_THRESHOLD Gauge "partner_license_customer_threshold_percent" ["customer" "service" "workload" "channel"]
        "Configured threshold, scale 0-100: a smaller share of active in qualified licences counts as low; absent for muted rows and for those with fewer licences than min_licenses."
    CUSTOMER_SOLD Gauge "partner_license_customer_sold_licenses" ["customer" "service" "channel"]
        "Licences that one customer bought, summed over products: licensesSold; only customers with a published row."
    CUSTOMER_DEPLOYED Gauge "partner_license_customer_deployed_licenses" ["customer" "service" "channel"]
        "Licences of one customer that are assigned to users, summed over products: licensesDeployed; only customers with a published row."
    CUSTOMER_INFO Gauge "partner_license_customer_info" ["customer" "customer_name"]
        "A metric with a constant '1' value labeled by the name of a customer with a published row; absent if names are off."
    CUSTOMERS Gauge "partner_license_customers" []
        "Customers in the last successful poll of the customers collection."
    CUSTOMER_ROWS Gauge "partner_license_customer_rows" ["state"]
        "Rows in the last successful poll of the customers collection that are published, and that the setting series withholds."
    CUSTOMER_PROCESSED Gauge "partner_license_customer_processed_timestamp_seconds" ["service"]
        "When Microsoft aggregated the oldest row of the service, usually days ago: processedDateTime of the customers' usage."
    ROWS Gauge "partner_license_rows" ["collection"]
        "Rows in the last successful poll of the Partner Center collection; 0 if it was empty."
    REJECTED Counter "partner_license_rows_rejected_total" ["collection" "reason"]
        "Rows dropped from the Partner Center collection, by reason."
    UP Gauge "partner_license_up" ["collection"]
        "Whether the last poll of the Partner Center collection succeeded (1) or not (0)."
    SCRAPES Counter "partner_license_scrapes_total" ["collection"]
        "Completed polls of the Partner Center collection, successful or failed."
    FAILURES Counter "partner_license_scrape_failures_total" ["collection" "reason"]
        "Failed polls of the Partner Center collection, by reason."
    DURATION Gauge "partner_license_scrape_duration_seconds" ["collection"]
        "Duration of the last poll of the Partner Center collection, successful or failed."
    LAST_SCRAPE Gauge "partner_license_last_scrape_timestamp_seconds" ["collection"]
        "When the last poll of the Partner Center collection ended, successful or failed."
    LAST_SUCCESS Gauge "partner_license_last_success_timestamp_seconds" ["collection"]
        "When the last successful poll of the Partner Center collection ended."
    NEXT_SCRAPE Gauge "partner_license_next_scrape_timestamp_seconds" ["collection"]
        "When the next poll of the Partner Center collection is due."
    INTERVAL Gauge "partner_license_poll_interval_seconds" ["collection"]
        "Configured pause between two successful polls of the Partner Center collection."
    REQUESTS Counter "partner_license_api_requests_total" ["endpoint" "code"]
        "HTTP requests sent to Entra ID (token) and Partner Center (all others), by status code; the code is error if no complete response arrived."
    REQUEST_DURATION Histogram "partner_license_api_request_duration_seconds" ["endpoint"]
        "Duration of HTTP requests sent to Entra ID (token) and Partner Center (all others)."
    RETRIES Counter "partner_license_api_retries_total" ["endpoint"]
        "HTTP requests that retried a failed request within the same poll."
    THROTTLED Counter "partner_license_api_throttled_total" ["endpoint"]
        "HTTP responses that asked the exporter to slow down: status 429, or any status with Retry-After."
    ACCESS_EXPIRY Gauge "partner_license_access_token_expiry_timestamp_seconds" []
        "Expiry of the access token in use; it is renewed earlier."
    REFRESH_ISSUED Gauge "partner_license_refresh_token_issued_timestamp_seconds" []
        "When the refresh token in use was issued; absent for a token from the configuration until it is renewed."
    REFRESH_EXPIRY Gauge "partner_license_refresh_token_expiry_timestamp_seconds" []
        "Expiry of the refresh token in use unless it is renewed earlier: 90 days after its issue; absent while the token is refused before that."
    CERTIFICATE_EXPIRY Gauge "partner_license_client_certificate_expiry_timestamp_seconds" []
        "Expiry of the client certificate in use; absent if the application signs in without one."
    MFA Gauge "partner_license_mfa_compliant" []
        "Whether Partner Center reported that the sign-in meets its requirement for multi-factor authentication (1) or not (0); absent until it reports either."
    BUILD_INFO Gauge "partner_license_exporter_build_info" ["version" "revision" "branch" "rustversion"]
        "A metric with a constant '1' value labeled by version, revision, branch and rustversion from which partner_license_exporter was built."
    RELOAD_OK Gauge "partner_license_exporter_config_last_reload_successful" []
        "Whether the last attempt to load the configuration succeeded (1) or not (0)."
    RELOAD_TIME Gauge "partner_license_exporter_config_last_reload_success_timestamp_seconds" []
        "When the configuration was last loaded successfully."
    LOG_LINES_DROPPED Counter "partner_license_exporter_log_lines_dropped_total" []
        "Log lines that could not be written."
    HANDLED Counter "promhttp_metric_handler_requests_total" ["code"]
        "Total number of scrapes by HTTP status code."
    IN_FLIGHT Gauge "promhttp_metric_handler_requests_in_flight" []
        "Current number of scrapes being served."
    CPU Counter "process_cpu_seconds_total" []
        "Total user and system CPU time spent in seconds."
    OPEN_FDS Gauge "process_open_fds" []
        "Number of open file descriptors."
    MAX_FDS Gauge "process_max_fds" []
        "Maximum number of open file descriptors."
    VIRTUAL Gauge "process_virtual_memory_bytes" []
        "Virtual memory size in bytes."
    VIRTUAL_MAX Gauge "process_virtual_memory_max_bytes" []
        "Maximum amount of virtual memory available in bytes."
    RESIDENT Gauge "process_resident_memory_bytes" []
        "Resident memory size in bytes."
    START_TIME Gauge "process_start_time_seconds" []
        "Start time of the process since unix epoch in seconds."
    THREADS Gauge "process_threads" []
        "Number of OS threads in the process."
    RECEIVED Counter "process_network_receive_bytes_total" []
        "Number of bytes received over the network, by all processes in the network namespace of this one."
    SENT Counter "process_network_transmit_bytes_total" []
        "Number of bytes sent over the network, by all processes in the network namespace of this one."
}
