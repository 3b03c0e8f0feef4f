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
app.kubernetes.io/name: {{ include "partner-license-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* The labels of an object; the argument is a list of the root and of maps with further labels. Later ones win, and
those of the selectors over all. */}}
{{- define "partner-license-exporter.labels" -}}
{{- $root := first . }}
{{- $labels := dict "app.kubernetes.io/version" $root.Chart.AppVersion "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") }}
{{- $selector := include "partner-license-exporter.selectorLabels" $root | fromYaml }}
{{- range concat (list $root.Values.commonLabels) (rest .) (list $selector) }}
{{- $labels = mergeOverwrite $labels (default dict .) }}
{{- end }}
{{- toYaml $labels }}
{{- end }}

{{- /* The labels of the pod of `helm test`, which no selector of the exporter matches. */}}
{{- define "partner-license-exporter.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "partner-license-exporter.name" . | trunc 58 | trimSuffix "-") | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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

{{- /* The flag that names the web configuration file, or nothing. */}}
{{- define "partner-license-exporter.webFlag" -}}
{{- if .Values.webConfig.existingSecret }}--web.config.file=/etc/partner-license-exporter-web/web-config.yml{{ end }}
{{- end }}
