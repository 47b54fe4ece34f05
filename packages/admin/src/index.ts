export { type AdminHandler, type AdminOptions, adminHandler } from './handler.ts';
export { type AdminServer, type AdminServerOptions, adminServer } from './server.ts';
