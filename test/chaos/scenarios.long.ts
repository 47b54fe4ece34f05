import { testQuickCases } from './quick-cases.ts';

testQuickCases((id) => !/^(CERT|EP|NET|POL)-/.test(id));
