import { testQuickCases } from './quick-cases.ts';

testQuickCases((id) => id.startsWith('POL-'));
