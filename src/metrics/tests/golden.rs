//! Whole bodies, byte for byte, on which users' queries and rules depend.

use super::*;

#[test]
fn two_named_accounts_of_which_one_fails_and_one_was_never_polled() {
    let accounts = accounts_named(&["contoso", "fabrikam"]);
    fill(&accounts.ledgers[0]);
    assert_eq!(classic(&accounts, NOW), TWO_NAMED);
}

#[test]
fn one_account_without_a_name() {
    let accounts = accounts_named(&[]);
    accounts.ledgers[0].write(|status| {
        collected(status, [row("o365", "Exchange", 50.0)], NOW, Duration::from_secs(1));
    });
    // HELP is the same as above.
    let text = classic(&accounts, NOW);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
    assert_eq!(lines.join("\n"), UNNAMED.trim_end());
}

const TWO_NAMED: &str = r#"# HELP partner_license_usage_percent Share of qualified licences in use, scale 0-100, may exceed 100: proratedLicensesUsagePercent of Partner Center's /v1/analytics/licenses/usage, or active by qualified licences of its successor, polled in the background and cached.
# TYPE partner_license_usage_percent gauge
partner_license_usage_percent{account="contoso",service="crm",workload="Teams",channel="reseller"} 104.5
partner_license_usage_percent{account="contoso",service="o365",workload="Exchange",channel="reseller"} 38.25
# HELP partner_license_usage_processed_timestamp_seconds When Microsoft aggregated the row, usually days ago: processedDateTime of Partner Center's /v1/analytics/licenses/usage or its successor, polled in the background and cached.
# TYPE partner_license_usage_processed_timestamp_seconds gauge
partner_license_usage_processed_timestamp_seconds{account="contoso",service="crm",workload="Teams",channel="reseller"} 1794873600
partner_license_usage_processed_timestamp_seconds{account="contoso",service="o365",workload="Exchange",channel="reseller"} 1794873600
# HELP partner_license_usage_threshold_percent Configured threshold, scale 0-100: usage below it counts as low; absent for muted rows.
# TYPE partner_license_usage_threshold_percent gauge
partner_license_usage_threshold_percent{account="contoso",service="crm",workload="Teams",channel="reseller"} 40
partner_license_usage_threshold_percent{account="contoso",service="o365",workload="Exchange",channel="reseller"} 40
# HELP partner_license_usage_active_licenses Licences in use, of those that qualify: the sum of licensesActive; absent where the source has no numbers.
# TYPE partner_license_usage_active_licenses gauge
partner_license_usage_active_licenses{account="contoso",service="o365",workload="Exchange",channel="reseller"} 153
# HELP partner_license_usage_qualified_licenses Licences that qualify for the workload: the sum of licensesQualified; absent where the source has no numbers.
# TYPE partner_license_usage_qualified_licenses gauge
partner_license_usage_qualified_licenses{account="contoso",service="o365",workload="Exchange",channel="reseller"} 400
# HELP partner_license_usage_source_info A metric with a constant '1' value labeled by where the usage rows that are served came from: licenses, or commercial, its successor.
# TYPE partner_license_usage_source_info gauge
partner_license_usage_source_info{account="contoso",source="licenses"} 1
# HELP partner_license_deployment_percent Share of sold licences that is assigned, scale 0-100, may exceed 100: proratedDeploymentPercent, or the sum of licensesDeployed in that of licensesSold.
# TYPE partner_license_deployment_percent gauge
partner_license_deployment_percent{account="contoso",service="o365",channel="reseller"} 26.16
# HELP partner_license_deployment_sold_licenses Licences sold: licensesSold; absent where the source does not say.
# TYPE partner_license_deployment_sold_licenses gauge
partner_license_deployment_sold_licenses{account="contoso",service="o365",channel="reseller"} 4464
# HELP partner_license_deployment_deployed_licenses Licences assigned to users: licensesDeployed; absent where the source does not say.
# TYPE partner_license_deployment_deployed_licenses gauge
partner_license_deployment_deployed_licenses{account="contoso",service="o365",channel="reseller"} 1168
# HELP partner_license_deployment_processed_timestamp_seconds When Microsoft aggregated the row, usually days ago: processedDateTime of the deployment collection.
# TYPE partner_license_deployment_processed_timestamp_seconds gauge
partner_license_deployment_processed_timestamp_seconds{account="contoso",service="o365",channel="reseller"} 1795238000
# HELP partner_license_customer_active_licenses Licences of one customer that are in use, summed over products: licensesActive; only the rows that the setting series admits.
# TYPE partner_license_customer_active_licenses gauge
partner_license_customer_active_licenses{account="contoso",customer="c1",service="o365",workload="Exchange",channel="reseller"} 17
partner_license_customer_active_licenses{account="contoso",customer="c1",service="o365",workload="Teams",channel="reseller"} 3
# HELP partner_license_customer_qualified_licenses Licences of one customer that qualify for the workload, summed over products: licensesQualified; only the rows that the setting series admits.
# TYPE partner_license_customer_qualified_licenses gauge
partner_license_customer_qualified_licenses{account="contoso",customer="c1",service="o365",workload="Exchange",channel="reseller"} 21
partner_license_customer_qualified_licenses{account="contoso",customer="c1",service="o365",workload="Teams",channel="reseller"} 120
# HELP partner_license_customer_threshold_percent Configured threshold, scale 0-100: a smaller share of active in qualified licences counts as low; absent for muted rows and for those with fewer licences than min_licenses.
# TYPE partner_license_customer_threshold_percent gauge
partner_license_customer_threshold_percent{account="contoso",customer="c1",service="o365",workload="Teams",channel="reseller"} 40
# HELP partner_license_customer_sold_licenses Licences that one customer bought, summed over products: licensesSold; only customers with a published row.
# TYPE partner_license_customer_sold_licenses gauge
partner_license_customer_sold_licenses{account="contoso",customer="c1",service="o365",channel="reseller"} 150
# HELP partner_license_customer_deployed_licenses Licences of one customer that are assigned to users, summed over products: licensesDeployed; only customers with a published row.
# TYPE partner_license_customer_deployed_licenses gauge
partner_license_customer_deployed_licenses{account="contoso",customer="c1",service="o365",channel="reseller"} 130
# HELP partner_license_customer_info A metric with a constant '1' value labeled by the name of a customer with a published row; absent if names are off.
# TYPE partner_license_customer_info gauge
partner_license_customer_info{account="contoso",customer="c1",customer_name="Contoso"} 1
# HELP partner_license_customers Customers in the last successful poll of the customers collection.
# TYPE partner_license_customers gauge
partner_license_customers{account="contoso"} 2
# HELP partner_license_customer_rows Rows in the last successful poll of the customers collection that are published, and that the setting series withholds.
# TYPE partner_license_customer_rows gauge
partner_license_customer_rows{account="contoso",state="published"} 2
partner_license_customer_rows{account="contoso",state="withheld"} 1
# HELP partner_license_customer_processed_timestamp_seconds When Microsoft aggregated the oldest row of the service, usually days ago: processedDateTime of the customers' usage.
# TYPE partner_license_customer_processed_timestamp_seconds gauge
partner_license_customer_processed_timestamp_seconds{account="contoso",service="o365"} 1795151600
# HELP partner_license_rows Rows in the last successful poll of the Partner Center collection; 0 if it was empty.
# TYPE partner_license_rows gauge
partner_license_rows{account="contoso",collection="usage"} 2
partner_license_rows{account="contoso",collection="deployment"} 1
partner_license_rows{account="contoso",collection="customers"} 3
# HELP partner_license_rows_rejected_total Rows dropped from the Partner Center collection, by reason.
# TYPE partner_license_rows_rejected_total counter
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="duplicate"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="missing_value"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="missing_label"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="missing_date"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="invalid_number"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="invalid_date"} 1
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="invalid_label"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="not_an_object"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="unreadable"} 0
partner_license_rows_rejected_total{account="contoso",collection="usage",reason="no_licenses"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="duplicate"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="missing_value"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="missing_label"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="missing_date"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="invalid_number"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="invalid_date"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="invalid_label"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="not_an_object"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="unreadable"} 0
partner_license_rows_rejected_total{account="contoso",collection="deployment",reason="no_licenses"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="duplicate"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="missing_value"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="missing_label"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="missing_date"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="invalid_number"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="invalid_date"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="invalid_label"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="not_an_object"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="unreadable"} 0
partner_license_rows_rejected_total{account="contoso",collection="customers",reason="no_licenses"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="duplicate"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="missing_value"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="missing_label"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="missing_date"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="invalid_number"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="invalid_date"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="invalid_label"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="not_an_object"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="unreadable"} 0
partner_license_rows_rejected_total{account="fabrikam",collection="usage",reason="no_licenses"} 0
# HELP partner_license_up Whether the last poll of the Partner Center collection succeeded (1) or not (0).
# TYPE partner_license_up gauge
partner_license_up{account="contoso",collection="usage"} 0
partner_license_up{account="contoso",collection="deployment"} 1
partner_license_up{account="contoso",collection="customers"} 1
partner_license_up{account="fabrikam",collection="usage"} 0
# HELP partner_license_scrapes_total Completed polls of the Partner Center collection, successful or failed.
# TYPE partner_license_scrapes_total counter
partner_license_scrapes_total{account="contoso",collection="usage"} 2
partner_license_scrapes_total{account="contoso",collection="deployment"} 1
partner_license_scrapes_total{account="contoso",collection="customers"} 1
partner_license_scrapes_total{account="fabrikam",collection="usage"} 0
# HELP partner_license_scrape_failures_total Failed polls of the Partner Center collection, by reason.
# TYPE partner_license_scrape_failures_total counter
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="consent"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="credentials"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="mfa"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="forbidden"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="throttled"} 1
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="server"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="timeout"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="network"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="tls"} 0
partner_license_scrape_failures_total{account="contoso",collection="usage",reason="payload"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="consent"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="credentials"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="mfa"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="forbidden"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="throttled"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="server"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="timeout"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="network"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="tls"} 0
partner_license_scrape_failures_total{account="contoso",collection="deployment",reason="payload"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="consent"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="credentials"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="mfa"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="forbidden"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="throttled"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="server"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="timeout"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="network"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="tls"} 0
partner_license_scrape_failures_total{account="contoso",collection="customers",reason="payload"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="consent"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="credentials"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="mfa"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="forbidden"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="throttled"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="server"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="timeout"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="network"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="tls"} 0
partner_license_scrape_failures_total{account="fabrikam",collection="usage",reason="payload"} 0
# HELP partner_license_scrape_duration_seconds Duration of the last poll of the Partner Center collection, successful or failed.
# TYPE partner_license_scrape_duration_seconds gauge
partner_license_scrape_duration_seconds{account="contoso",collection="usage"} 0.3
partner_license_scrape_duration_seconds{account="contoso",collection="deployment"} 60
partner_license_scrape_duration_seconds{account="contoso",collection="customers"} 120
# HELP partner_license_last_scrape_timestamp_seconds When the last poll of the Partner Center collection ended, successful or failed.
# TYPE partner_license_last_scrape_timestamp_seconds gauge
partner_license_last_scrape_timestamp_seconds{account="contoso",collection="usage"} 1795407200
partner_license_last_scrape_timestamp_seconds{account="contoso",collection="deployment"} 1795403600
partner_license_last_scrape_timestamp_seconds{account="contoso",collection="customers"} 1795400000
# HELP partner_license_last_success_timestamp_seconds When the last successful poll of the Partner Center collection ended.
# TYPE partner_license_last_success_timestamp_seconds gauge
partner_license_last_success_timestamp_seconds{account="contoso",collection="usage"} 1795403600
partner_license_last_success_timestamp_seconds{account="contoso",collection="deployment"} 1795403600
partner_license_last_success_timestamp_seconds{account="contoso",collection="customers"} 1795400000
# HELP partner_license_next_scrape_timestamp_seconds When the next poll of the Partner Center collection is due.
# TYPE partner_license_next_scrape_timestamp_seconds gauge
partner_license_next_scrape_timestamp_seconds{account="contoso",collection="usage"} 1795414400
# HELP partner_license_poll_interval_seconds Configured pause between two successful polls of the Partner Center collection.
# TYPE partner_license_poll_interval_seconds gauge
partner_license_poll_interval_seconds{account="contoso",collection="usage"} 21600
partner_license_poll_interval_seconds{account="contoso",collection="deployment"} 0
partner_license_poll_interval_seconds{account="contoso",collection="customers"} 0
partner_license_poll_interval_seconds{account="fabrikam",collection="usage"} 21600
# HELP partner_license_api_requests_total HTTP requests sent to Entra ID (token) and Partner Center (all others), by status code; the code is error if no complete response arrived.
# TYPE partner_license_api_requests_total counter
partner_license_api_requests_total{account="contoso",endpoint="token",code="200"} 1
partner_license_api_requests_total{account="contoso",endpoint="token",code="error"} 0
partner_license_api_requests_total{account="contoso",endpoint="usage",code="200"} 1
partner_license_api_requests_total{account="contoso",endpoint="usage",code="429"} 1
partner_license_api_requests_total{account="contoso",endpoint="usage",code="error"} 1
partner_license_api_requests_total{account="fabrikam",endpoint="token",code="200"} 0
partner_license_api_requests_total{account="fabrikam",endpoint="token",code="error"} 0
partner_license_api_requests_total{account="fabrikam",endpoint="usage",code="200"} 0
partner_license_api_requests_total{account="fabrikam",endpoint="usage",code="error"} 0
# HELP partner_license_api_request_duration_seconds Duration of HTTP requests sent to Entra ID (token) and Partner Center (all others).
# TYPE partner_license_api_request_duration_seconds histogram
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="0.05"} 0
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="0.1"} 0
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="0.25"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="0.5"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="1"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="2.5"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="5"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="10"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="30"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="60"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="120"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="token",le="+Inf"} 1
partner_license_api_request_duration_seconds_sum{account="contoso",endpoint="token"} 0.25
partner_license_api_request_duration_seconds_count{account="contoso",endpoint="token"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="0.05"} 0
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="0.1"} 0
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="0.25"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="0.5"} 1
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="1"} 2
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="2.5"} 2
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="5"} 2
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="10"} 2
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="30"} 2
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="60"} 2
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="120"} 2
partner_license_api_request_duration_seconds_bucket{account="contoso",endpoint="usage",le="+Inf"} 3
partner_license_api_request_duration_seconds_sum{account="contoso",endpoint="usage"} 131.125
partner_license_api_request_duration_seconds_count{account="contoso",endpoint="usage"} 3
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="0.05"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="0.1"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="0.25"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="0.5"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="1"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="2.5"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="5"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="10"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="30"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="60"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="120"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="token",le="+Inf"} 0
partner_license_api_request_duration_seconds_sum{account="fabrikam",endpoint="token"} 0.0
partner_license_api_request_duration_seconds_count{account="fabrikam",endpoint="token"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="0.05"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="0.1"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="0.25"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="0.5"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="1"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="2.5"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="5"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="10"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="30"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="60"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="120"} 0
partner_license_api_request_duration_seconds_bucket{account="fabrikam",endpoint="usage",le="+Inf"} 0
partner_license_api_request_duration_seconds_sum{account="fabrikam",endpoint="usage"} 0.0
partner_license_api_request_duration_seconds_count{account="fabrikam",endpoint="usage"} 0
# HELP partner_license_api_retries_total HTTP requests that retried a failed request within the same poll.
# TYPE partner_license_api_retries_total counter
partner_license_api_retries_total{account="contoso",endpoint="token"} 0
partner_license_api_retries_total{account="contoso",endpoint="usage"} 2
partner_license_api_retries_total{account="fabrikam",endpoint="token"} 0
partner_license_api_retries_total{account="fabrikam",endpoint="usage"} 0
# HELP partner_license_api_throttled_total HTTP responses that asked the exporter to slow down: status 429, or any status with Retry-After.
# TYPE partner_license_api_throttled_total counter
partner_license_api_throttled_total{account="contoso",endpoint="token"} 0
partner_license_api_throttled_total{account="contoso",endpoint="usage"} 1
partner_license_api_throttled_total{account="fabrikam",endpoint="token"} 0
partner_license_api_throttled_total{account="fabrikam",endpoint="usage"} 0
# HELP partner_license_access_token_expiry_timestamp_seconds Expiry of the access token in use; it is renewed earlier.
# TYPE partner_license_access_token_expiry_timestamp_seconds gauge
partner_license_access_token_expiry_timestamp_seconds{account="contoso"} 1795414400
# HELP partner_license_refresh_token_issued_timestamp_seconds When the refresh token in use was issued; absent for a token from the configuration until it is renewed.
# TYPE partner_license_refresh_token_issued_timestamp_seconds gauge
partner_license_refresh_token_issued_timestamp_seconds{account="contoso"} 1795324400
# HELP partner_license_refresh_token_expiry_timestamp_seconds Expiry of the refresh token in use unless it is renewed earlier: 90 days after its issue; absent while the token is refused before that.
# TYPE partner_license_refresh_token_expiry_timestamp_seconds gauge
partner_license_refresh_token_expiry_timestamp_seconds{account="contoso"} 1803100400
# HELP partner_license_client_certificate_expiry_timestamp_seconds Expiry of the client certificate in use; absent if the application signs in without one.
# TYPE partner_license_client_certificate_expiry_timestamp_seconds gauge
partner_license_client_certificate_expiry_timestamp_seconds{account="contoso"} 1796274800
# HELP partner_license_mfa_compliant Whether Partner Center reported that the sign-in meets its requirement for multi-factor authentication (1) or not (0); absent until it reports either.
# TYPE partner_license_mfa_compliant gauge
partner_license_mfa_compliant{account="contoso"} 1
"#;

const UNNAMED: &str = r#"# TYPE partner_license_usage_percent gauge
partner_license_usage_percent{service="o365",workload="Exchange",channel="reseller"} 50
# TYPE partner_license_usage_processed_timestamp_seconds gauge
partner_license_usage_processed_timestamp_seconds{service="o365",workload="Exchange",channel="reseller"} 1794873600
# TYPE partner_license_usage_threshold_percent gauge
partner_license_usage_threshold_percent{service="o365",workload="Exchange",channel="reseller"} 40
# TYPE partner_license_usage_source_info gauge
partner_license_usage_source_info{source="licenses"} 1
# TYPE partner_license_rows gauge
partner_license_rows{collection="usage"} 1
# TYPE partner_license_rows_rejected_total counter
partner_license_rows_rejected_total{collection="usage",reason="duplicate"} 0
partner_license_rows_rejected_total{collection="usage",reason="missing_value"} 0
partner_license_rows_rejected_total{collection="usage",reason="missing_label"} 0
partner_license_rows_rejected_total{collection="usage",reason="missing_date"} 0
partner_license_rows_rejected_total{collection="usage",reason="invalid_number"} 0
partner_license_rows_rejected_total{collection="usage",reason="invalid_date"} 0
partner_license_rows_rejected_total{collection="usage",reason="invalid_label"} 0
partner_license_rows_rejected_total{collection="usage",reason="not_an_object"} 0
partner_license_rows_rejected_total{collection="usage",reason="unreadable"} 0
partner_license_rows_rejected_total{collection="usage",reason="no_licenses"} 0
# TYPE partner_license_up gauge
partner_license_up{collection="usage"} 1
# TYPE partner_license_scrapes_total counter
partner_license_scrapes_total{collection="usage"} 1
# TYPE partner_license_scrape_failures_total counter
partner_license_scrape_failures_total{collection="usage",reason="consent"} 0
partner_license_scrape_failures_total{collection="usage",reason="credentials"} 0
partner_license_scrape_failures_total{collection="usage",reason="mfa"} 0
partner_license_scrape_failures_total{collection="usage",reason="forbidden"} 0
partner_license_scrape_failures_total{collection="usage",reason="throttled"} 0
partner_license_scrape_failures_total{collection="usage",reason="server"} 0
partner_license_scrape_failures_total{collection="usage",reason="timeout"} 0
partner_license_scrape_failures_total{collection="usage",reason="network"} 0
partner_license_scrape_failures_total{collection="usage",reason="tls"} 0
partner_license_scrape_failures_total{collection="usage",reason="payload"} 0
# TYPE partner_license_scrape_duration_seconds gauge
partner_license_scrape_duration_seconds{collection="usage"} 1
# TYPE partner_license_last_scrape_timestamp_seconds gauge
partner_license_last_scrape_timestamp_seconds{collection="usage"} 1795410800
# TYPE partner_license_last_success_timestamp_seconds gauge
partner_license_last_success_timestamp_seconds{collection="usage"} 1795410800
# TYPE partner_license_poll_interval_seconds gauge
partner_license_poll_interval_seconds{collection="usage"} 21600
# TYPE partner_license_api_requests_total counter
partner_license_api_requests_total{endpoint="token",code="200"} 0
partner_license_api_requests_total{endpoint="token",code="error"} 0
partner_license_api_requests_total{endpoint="usage",code="200"} 0
partner_license_api_requests_total{endpoint="usage",code="error"} 0
# TYPE partner_license_api_request_duration_seconds histogram
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="0.05"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="0.1"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="0.25"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="0.5"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="1"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="2.5"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="5"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="10"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="30"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="60"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="120"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="token",le="+Inf"} 0
partner_license_api_request_duration_seconds_sum{endpoint="token"} 0.0
partner_license_api_request_duration_seconds_count{endpoint="token"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="0.05"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="0.1"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="0.25"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="0.5"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="1"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="2.5"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="5"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="10"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="30"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="60"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="120"} 0
partner_license_api_request_duration_seconds_bucket{endpoint="usage",le="+Inf"} 0
partner_license_api_request_duration_seconds_sum{endpoint="usage"} 0.0
partner_license_api_request_duration_seconds_count{endpoint="usage"} 0
# TYPE partner_license_api_retries_total counter
partner_license_api_retries_total{endpoint="token"} 0
partner_license_api_retries_total{endpoint="usage"} 0
# TYPE partner_license_api_throttled_total counter
partner_license_api_throttled_total{endpoint="token"} 0
partner_license_api_throttled_total{endpoint="usage"} 0
"#;
