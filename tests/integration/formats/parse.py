"""Parses an exposition with an independent parser, and prints its content as JSON.

    parse.py classic|openmetrics|delimited [gzip] < body

The parsers are those of Prometheus' client library and of protobuf, see scripts/fetch-tools. The output is one
object: "samples" are lists of name, labels and value, "families" are lists of type, help and unit by name.
"""

import io
import json
import sys
import zlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.proto import parse_length_prefixed
from prometheus_client import openmetrics, parser
import prometheus_client.openmetrics.parser

# The part of io.prometheus.client that the exporter uses: fields by number, or the values of an enumeration.
SCHEMA = {
    "LabelPair": {1: "string name", 2: "string value"},
    "Gauge": {1: "double value"},
    "Counter": {1: "double value"},
    "Bucket": {1: "uint64 cumulative_count", 2: "double upper_bound"},
    "Histogram": {1: "uint64 sample_count", 2: "double sample_sum", 3: "* Bucket bucket"},
    "Metric": {1: "* LabelPair label", 2: "Gauge gauge", 3: "Counter counter", 7: "Histogram histogram"},
    "MetricFamily": {1: "string name", 2: "string help", 3: "MetricType type", 4: "* Metric metric", 5: "string unit"},
}
TYPES = {"COUNTER": 0, "GAUGE": 1, "SUMMARY": 2, "UNTYPED": 3, "HISTOGRAM": 4, "GAUGE_HISTOGRAM": 5}


def metric_family():
    """The class of the messages."""
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="io.prometheus.client")
    field = descriptor_pb2.FieldDescriptorProto
    enumeration = file.enum_type.add(name="MetricType")
    for word, number in TYPES.items():
        enumeration.value.add(name=word, number=number)
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, text in fields.items():
            *repeated, kind, field_name = text.split()
            added = message.field.add(name=field_name, number=number)
            added.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind[0].islower():
                added.type = getattr(field, f"TYPE_{kind.upper()}")
            else:
                added.type = field.TYPE_ENUM if kind == "MetricType" else field.TYPE_MESSAGE
                added.type_name = f".io.prometheus.client.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


def messages(body):
    kind, stream = metric_family(), io.BytesIO(body)
    while stream.tell() < len(body):
        start = stream.tell()
        message = parse_length_prefixed(kind, stream)
        again = message.SerializeToString(deterministic=True)
        assert body[start:stream.tell()].endswith(again), "unknown or unordered fields"
        yield message


def of_messages(body):
    for message in messages(body):
        samples = []
        for metric in message.metric:
            labels = {label.name: label.value for label in metric.label}
            if metric.HasField("histogram"):
                histogram = metric.histogram
                for bucket in histogram.bucket:
                    bound = {"le": repr(bucket.upper_bound)}
                    samples.append((message.name + "_bucket", labels | bound, float(bucket.cumulative_count)))
                samples.append((message.name + "_sum", labels, histogram.sample_sum))
                samples.append((message.name + "_count", labels, float(histogram.sample_count)))
            else:
                value = metric.counter if metric.HasField("counter") else metric.gauge
                samples.append((message.name, labels, value.value))
        kind = {number: word for word, number in TYPES.items()}[message.type].lower()
        yield message.name, kind, message.help, message.unit, samples


def of_text(form, body):
    read = parser.text_fd_to_metric_families if form == "classic" else openmetrics.parser.text_fd_to_metric_families
    for family in read(io.StringIO(body.decode())):
        samples = [(sample.name, sample.labels, float(sample.value)) for sample in family.samples]
        name = family.name + ("_total" if family.type == "counter" else "")
        yield name, family.type, family.documentation, family.unit, samples


def main(form, coding=None):
    body = sys.stdin.buffer.read()
    if coding == "gzip":
        member = zlib.decompressobj(wbits=31)
        body = member.decompress(body)
        assert member.eof and not member.unused_data, "not one whole gzip member"
    found = of_text(form, body) if form in ("classic", "openmetrics") else of_messages(body)
    families, samples = {}, []
    for name, kind, documentation, unit, of in found:
        assert name not in families, f"{name} occurs twice"
        families[name] = (kind, documentation, unit)
        samples += [(name, labels, repr(value)) for name, labels, value in of]
    json.dump({"families": families, "samples": samples}, sys.stdout)


main(*sys.argv[1:])
