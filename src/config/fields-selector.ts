import type { FieldType, ObjectType } from './schema.ts';
import { list, map, object, required, string } from './schema.ts';

const labels = map(string({ pattern: /^[^*]{0,63}$/u, mustBe: 'a label value of at most 63 characters without *' }), {
  pattern: /^[^*]+$/,
  mustBe: 'a label name without *',
});

/** Istio `type.v1beta1.WorkloadSelector`: which workloads a policy is for. */
export const policySelector: ObjectType = object({ matchLabels: labels });

/** Istio `networking.v1alpha3.WorkloadSelector`, of the older networking kinds. */
export const networkingSelector: ObjectType = object({ labels });

/** Istio `type.v1beta1.PolicyTargetReference`: the resource that a policy attaches to. */
export const targetRef: ObjectType = object({
  group: string({
    pattern: /^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    mustBe: 'an API group',
    maxLength: 253,
  }),
  kind: required(string({ pattern: /^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/, mustBe: 'a kind', maxLength: 63 })),
  name: required(string({ minLength: 1, maxLength: 253 })),
  namespace: string({ pattern: /^$/, mustBe: 'empty: references into other namespaces are not supported' }),
});

export const targetRefs: FieldType = list(targetRef, 16);
