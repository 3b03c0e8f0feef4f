//! The Prometheus text format 0.0.4, written from the data model of Prometheus' protobuf format, in which
//! names already are what this format wants.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{self, Display, Write};

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    LabelPair, Metric, MetricFamily, MetricType,
};

/// Writes the families in their order.
pub(super) fn write(out: &mut impl Write, families: &[MetricFamily]) -> fmt::Result {
    for family in families {
        writeln!(out, "# HELP {} {}", family.name, escape(&family.help, false))?;
        writeln!(out, "# TYPE {} {}", family.name, type_name(family.r#type()))?;
        for metric in &family.metric {
            write_metric(out, &family.name, metric)?;
        }
    }
    Ok(())
}

const fn type_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Summary => "summary",
        MetricType::Histogram | MetricType::GaugeHistogram => "histogram",
        MetricType::Untyped => "untyped",
    }
}

fn write_metric(out: &mut impl Write, name: &str, metric: &Metric) -> fmt::Result {
    let labels = &metric.label;
    if let Some(counter) = &metric.counter {
        write_sample(out, name, labels, None, counter.value)?;
    }
    if let Some(gauge) = &metric.gauge {
        write_sample(out, name, labels, None, gauge.value)?;
    }
    if let Some(histogram) = &metric.histogram {
        let bucket_name = format!("{name}_bucket");
        for bucket in &histogram.bucket {
            write_sample(out, &bucket_name, labels, Some(bucket.upper_bound), bucket.cumulative_count)?;
        }
        if histogram.bucket.last().is_none_or(|last| last.upper_bound.is_finite()) {
            write_sample(out, &bucket_name, labels, Some(f64::INFINITY), histogram.sample_count)?;
        }
        write_sample(out, &format!("{name}_sum"), labels, None, histogram.sample_sum)?;
        write_sample(out, &format!("{name}_count"), labels, None, histogram.sample_count)?;
    }
    Ok(())
}

fn write_sample(
    out: &mut impl Write,
    name: &str,
    labels: &[LabelPair],
    le: Option<f64>,
    value: impl Display,
) -> fmt::Result {
    let mut pairs: Vec<String> =
        labels.iter().map(|label| format!("{}=\"{}\"", label.name, escape(&label.value, true))).collect();
    pairs.extend(le.map(|le| if le.is_finite() { format!("le=\"{le}\"") } else { "le=\"+Inf\"".to_owned() }));
    if pairs.is_empty() {
        writeln!(out, "{name} {value}")
    } else {
        writeln!(out, "{name}{{{}}} {value}", pairs.join(","))
    }
}

/// Backslash and line feed, in label values the quote as well.
fn escape(text: &str, quotes: bool) -> String {
    let escaped = text.replace('\\', r"\\").replace('\n', r"\n");
    if quotes { escaped.replace('"', "\\\"") } else { escaped }
}
