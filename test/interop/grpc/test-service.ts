import { fromJSON, type PackageDefinition } from '@grpc/proto-loader';

interface Method {
  requestType: string;
  responseType: string;
  requestStream: boolean;
  responseStream: boolean;
  comment: string;
}

const method = (requestType: string, responseType: string, requestStream = false, responseStream = false): Method => ({
  requestType,
  responseType,
  requestStream,
  responseStream,
  comment: '',
});

/** grpc/testing/test.proto, as far as it is used here. */
export const testServiceDefinition: PackageDefinition = fromJSON(
  {
    nested: {
      grpc: {
        nested: {
          testing: {
            nested: {
              Empty: { fields: {} },
              BoolValue: { fields: { value: { type: 'bool', id: 1 } } },
              Payload: { fields: { body: { type: 'bytes', id: 2 } } },
              EchoStatus: { fields: { code: { type: 'int32', id: 1 }, message: { type: 'string', id: 2 } } },
              SimpleRequest: {
                fields: {
                  responseSize: { type: 'int32', id: 2 },
                  payload: { type: 'Payload', id: 3 },
                  responseCompressed: { type: 'BoolValue', id: 6 },
                  responseStatus: { type: 'EchoStatus', id: 7 },
                },
              },
              SimpleResponse: { fields: { payload: { type: 'Payload', id: 1 } } },
              StreamingInputCallRequest: { fields: { payload: { type: 'Payload', id: 1 } } },
              StreamingInputCallResponse: { fields: { aggregatedPayloadSize: { type: 'int32', id: 1 } } },
              ResponseParameters: { fields: { size: { type: 'int32', id: 1 }, intervalUs: { type: 'int32', id: 2 } } },
              StreamingOutputCallRequest: {
                fields: {
                  responseParameters: { rule: 'repeated', type: 'ResponseParameters', id: 2 },
                  payload: { type: 'Payload', id: 3 },
                  responseStatus: { type: 'EchoStatus', id: 7 },
                },
              },
              StreamingOutputCallResponse: { fields: { payload: { type: 'Payload', id: 1 } } },
              TestService: {
                methods: {
                  EmptyCall: method('Empty', 'Empty'),
                  UnaryCall: method('SimpleRequest', 'SimpleResponse'),
                  UnimplementedCall: method('Empty', 'Empty'),
                  StreamingInputCall: method('StreamingInputCallRequest', 'StreamingInputCallResponse', true),
                  StreamingOutputCall: method('StreamingOutputCallRequest', 'StreamingOutputCallResponse', false, true),
                  FullDuplexCall: method('StreamingOutputCallRequest', 'StreamingOutputCallResponse', true, true),
                },
              },
            },
          },
        },
      },
    },
  },
  { keepCase: false },
);
