{{- define "partner-license-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of all objects. It leaves room for what StatefulSets append. */}}
{{- define "partner-license-exporter.fullname" -}}
{{- $name := include "partner-license-exporter.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "partner-license-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "partner-license-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "partner-license-exporter.labels" -}}
{{ include "partner-license-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "partner-license-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "partner-license-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The reference of an image; the argument has its values and the default tag. */}}
{{- define "partner-license-exporter.image" -}}
{{- with .image }}{{ with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ end }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end }}
{{- end }}

{{- /* The flag that names the configuration file, or nothing if the account comes from the environment. */}}
{{- define "partner-license-exporter.configFlag" -}}
{{- if or .Values.config .Values.existingConfigMap .Values.existingConfigSecret }}--config.file=/etc/partner-license-exporter/config.yml{{ end }}
{{- end }}

{{- /* Values that contradict each other, or would put a secret where others read it. */}}
{{- define "partner-license-exporter.check" -}}
{{- $sources := 0 }}
{{- range list .Values.config .Values.existingConfigMap .Values.existingConfigSecret }}
{{- if . }}{{ $sources = add1 $sources }}{{ end }}
{{- end }}
{{- if gt $sources 1 }}
{{- fail "only one of config, existingConfigMap and existingConfigSecret may be set" }}
{{- end }}
{{- if and (eq $sources 0) (not .Values.extraEnv) (not .Values.extraEnvFrom) }}
{{- fail "there is no account: set config.accounts, existingConfigMap, existingConfigSecret, or the variables of one account in extraEnv" }}
{{- end }}
{{- if and .Values.config (not .Values.config.accounts) }}
{{- fail "config.accounts is missing" }}
{{- end }}
{{- range $n, $account := .Values.config.accounts }}
{{- range $key := list "client_secret" "refresh_token" }}
{{- if hasKey $account $key }}
{{- fail (printf "config.accounts[%d].%s would be in a ConfigMap, which many can read: create a Secret, name it in existingSecrets, and set %s_file to /var/run/secrets/partner-license-exporter/SECRET/KEY" $n $key $key) }}
{{- end }}
{{- end }}
{{- if regexMatch "^[^/]*//[^/]*@" (default "" $account.proxy_url) }}
{{- fail (printf "config.accounts[%d].proxy_url has a password and would be in a ConfigMap, which many can read: put the whole configuration into a Secret, and name it in existingConfigSecret" $n) }}
{{- end }}
{{- end }}
{{- $shared := or .Values.persistence.existingClaim (not .Values.persistence.enabled) }}
{{- if and (eq .Values.kind "Deployment") (not $shared) }}
{{- fail "kind Deployment needs persistence.existingClaim" }}
{{- end }}
{{- if gt (int .Values.sharding.totalShards) 1 }}
{{- if ne .Values.kind "StatefulSet" }}
{{- fail "sharding.totalShards needs kind StatefulSet: a pod learns its shard from its ordinal" }}
{{- end }}
{{- if not .Values.persistence.existingClaim }}
{{- fail "sharding.totalShards needs persistence.existingClaim of access mode ReadWriteMany, so that accounts which move to another shard find their tokens" }}
{{- end }}
{{- end }}
{{- end }}
