# The image of partner-license-exporter, for people who have Docker:
#
#   docker build --tag partner-license-exporter --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" \
#     --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" .
#
# scripts/package writes this image without Docker: the same function puts the files together, and the settings are read
# from the last stage here.

FROM rust:1.95-bookworm AS build
ARG VERSION=unknown REVISION=unknown SOURCE_DATE_EPOCH=0
WORKDIR /source
COPY . .
# The base image has the CA certificates of Debian.
RUN BUILD_REVISION="$REVISION" BUILD_BRANCH="v$VERSION" CA_CERTIFICATES=/etc/ssl/certs/ca-certificates.crt \
  scripts/package --image-root /image
# Apart from the rest: COPY would not change the owner of a directory that an earlier one has written.
RUN mkdir -p /state && mv /image/var/lib/partner-license-exporter /state/

FROM scratch
ARG VERSION=unknown REVISION=unknown SOURCE_DATE_EPOCH=0
COPY --from=build /image /
# Refresh tokens and rows, which must outlive the container.
COPY --from=build --chown=65532:65532 /state/ /var/lib/
USER 65532:65532
ENV PATH=/usr/bin
EXPOSE 10365
VOLUME ["/var/lib/partner-license-exporter"]
LABEL org.opencontainers.image.title="partner-license-exporter"
LABEL org.opencontainers.image.description="Prometheus exporter for licence usage in Microsoft Partner Center"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="$VERSION"
LABEL org.opencontainers.image.revision="$REVISION"
HEALTHCHECK --interval=30s --timeout=10s CMD ["/usr/bin/partner-license-exporter", "healthcheck"]
ENTRYPOINT ["/usr/bin/partner-license-exporter"]
