{{- /* The pod; the argument is the root, with the labels that only this workload has in .own. */}}
{{- define "partner-license-exporter.pod" -}}
metadata:
  labels:
    {{- include "partner-license-exporter.labels" (list . .Values.podLabels .own) | nindent 4 }}
  {{- $annotations := dict }}
  {{- if .Values.config }}
  {{- $_ := set $annotations "checksum/config" (toYaml .Values.config | sha256sum) }}
  {{- end }}
  {{- if .Values.scrapeAnnotations.enabled }}
  {{- $_ := set $annotations "prometheus.io/scrape" "true" }}
  {{- $_ := set $annotations "prometheus.io/scheme" (include "partner-license-exporter.scheme" .) }}
  {{- $_ := set $annotations "prometheus.io/port" "10365" }}
  {{- $_ := set $annotations "prometheus.io/path" "/metrics" }}
  {{- end }}
  {{- with merge (deepCopy .Values.podAnnotations) $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "partner-license-exporter.serviceAccountName" . | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "hostAliases" "dnsConfig" }}
  {{- with index $.Values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  containers:
    - name: exporter
      image: {{ include "partner-license-exporter.image" (dict "image" .Values.image "tag" .Chart.AppVersion) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- $args := list }}
      {{- range $flag := list "configFlag" "webFlag" }}
      {{- with include (printf "partner-license-exporter.%s" $flag) $ }}
      {{- $args = append $args . }}
      {{- end }}
      {{- end }}
      {{- $sharded := gt (int .Values.sharding.totalShards) 1 }}
      {{- if $sharded }}
      {{- $args = concat $args (list "--shard=$(POD_INDEX)" (printf "--total-shards=%d" (int .Values.sharding.totalShards))) }}
      {{- end }}
      {{- with concat $args .Values.extraArgs }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        - name: STATE_DIRECTORY
          value: /var/lib/partner-license-exporter
        {{- if $sharded }}
        - name: POD_INDEX
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
        {{- end }}
        {{- if .Values.workloadIdentity.enabled }}
        - name: AZURE_FEDERATED_TOKEN_FILE
          value: /var/run/secrets/azure/tokens/azure-identity-token
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: metrics
          containerPort: 10365
      {{- range $key, $path := dict "livenessProbe" "/-/healthy" "readinessProbe" "/-/ready" }}
      {{- with index $.Values $key }}
      {{- $probe := dict "httpGet" (dict "path" $path "port" "metrics") }}
      {{- with include "partner-license-exporter.webFlag" $ }}
      {{- /* The kubelet has no password, and for `healthcheck` a refusal is a sign of life. */}}
      {{- $probe = dict "exec" (dict "command" (list "partner-license-exporter" "healthcheck" .)) }}
      {{- end }}
      {{- if or .httpGet .exec .tcpSocket .grpc }}{{ $probe = dict }}{{ end }}
      {{ $key }}:
        {{- toYaml (merge $probe .) | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml .Values.containerSecurityContext | nindent 8 }}
      volumeMounts:
        - name: state
          mountPath: /var/lib/partner-license-exporter
        {{- if include "partner-license-exporter.configFlag" . }}
        - name: config
          mountPath: /etc/partner-license-exporter
          readOnly: true
        {{- end }}
        {{- if .Values.webConfig.existingSecret }}
        - name: web-config
          mountPath: /etc/partner-license-exporter-web
          readOnly: true
        {{- end }}
        {{- range $n, $name := .Values.existingSecrets }}
        - name: secret-{{ $n }}
          mountPath: /var/run/secrets/partner-license-exporter/{{ $name }}
          readOnly: true
        {{- end }}
        {{- if .Values.workloadIdentity.enabled }}
        - name: azure-identity
          mountPath: /var/run/secrets/azure/tokens
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- $volumes := list }}
  {{- if .Values.existingConfigSecret }}
  {{- $volumes = append $volumes (dict "name" "config" "secret" (dict "secretName" .Values.existingConfigSecret "defaultMode" 288)) }}
  {{- else if include "partner-license-exporter.configFlag" . }}
  {{- $name := default (include "partner-license-exporter.fullname" .) .Values.existingConfigMap }}
  {{- $volumes = append $volumes (dict "name" "config" "configMap" (dict "name" $name)) }}
  {{- end }}
  {{- with .Values.webConfig.existingSecret }}
  {{- $volumes = append $volumes (dict "name" "web-config" "secret" (dict "secretName" . "defaultMode" 288)) }}
  {{- end }}
  {{- range $n, $name := .Values.existingSecrets }}
  {{- $volumes = append $volumes (dict "name" (printf "secret-%d" $n) "secret" (dict "secretName" $name "defaultMode" 288)) }}
  {{- end }}
  {{- with .Values.workloadIdentity }}
  {{- if .enabled }}
  {{- $token := dict "audience" .audience "expirationSeconds" (int .expirationSeconds) "path" "azure-identity-token" }}
  {{- $volumes = append $volumes (dict "name" "azure-identity" "projected" (dict "sources" (list (dict "serviceAccountToken" $token)))) }}
  {{- end }}
  {{- end }}
  {{- if .Values.persistence.existingClaim }}
  {{- $volumes = append $volumes (dict "name" "state" "persistentVolumeClaim" (dict "claimName" .Values.persistence.existingClaim)) }}
  {{- else if not .Values.persistence.enabled }}
  {{- $volumes = append $volumes (dict "name" "state" "emptyDir" dict) }}
  {{- end }}
  {{- with concat $volumes .Values.extraVolumes }}
  volumes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "partner-license-exporter.scheme" -}}
{{- .Values.webConfig.tls | ternary "https" "http" }}
{{- end }}
