/** What a handler of the application under test is there for. A handler can be reached for several reasons: bits. */
export const areas = {
  /** `/admin` */
  admin: 1,
  /** `/admin/…` */
  belowAdmin: 2,
  /** `/admin` and everything below it: a mounted router, an optional segment. */
  atAdmin: 4,
  /** `/<anything>/admin` */
  adminOfTenant: 8,
  /** `/public` */
  public: 16,
  /** `/public/…` */
  belowPublic: 32,
  /** `/public/admin` */
  adminOfPublic: 64,
} as const;

export type Area = keyof typeof areas;

/** All areas. */
export const everything = 127;

/** The areas of these bits, for messages. */
export function namesOf(bits: number): string {
  return Object.entries(areas)
    .filter(([, bit]) => (bits & bit) !== 0)
    .map(([name]) => name)
    .join(', ');
}

/** The area that a path leads into when an application takes it apart by itself, letter case and a final slash aside. */
export function areaOf(path: string): number {
  const [, first = '', ...rest] = path.toLowerCase().split('/');
  if (rest.at(-1) === '') rest.pop();
  if (first === 'admin') return rest.length === 0 ? areas.admin : areas.belowAdmin;
  if (rest.length === 1 && rest[0] === 'admin') return first === 'public' ? areas.adminOfPublic : areas.adminOfTenant;
  if (first === 'public') return rest.length === 0 ? areas.public : areas.belowPublic;
  return 0;
}
