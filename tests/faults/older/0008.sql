-- Left by a Tollway of schema 0008 that was killed in the middle of an answer.
-- api_key tw_m8wyL0hzndnPez9hNj4kHUvCxmSxI41zEtEF
-- secret.key Y2NmNWIyOWNkYjdkYzRhZmFkNjhmZDNlZjYyMzUzN2Q5OTE1YzljOTBiOWE2YWMxMjk2MWRkNDU5ZjQwYjE5Mgo=
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at DOUBLE NOT NULL, updated_at DOUBLE DEFAULT 0 NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, low_balance_credits BIGINT DEFAULT 10000 NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id), 
	CONSTRAINT uq_accounts_name UNIQUE (name)
);
INSERT INTO "accounts" VALUES('acc_qUj2AEVXewav039jyZRAx','owner',1.79597315479463362692e+09,1.79597315479463362692e+09,NULL,NULL,NULL,10000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0008');
CREATE TABLE api_keys (
	id VARCHAR(32) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	prefix VARCHAR(12) NOT NULL, 
	digest BLOB NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	deleted_at DOUBLE, kind VARCHAR(16) DEFAULT 'api' NOT NULL, previous_prefix VARCHAR(12), previous_digest BLOB, previous_expires_at DOUBLE, scopes TEXT, models TEXT, spend_limit_credits BIGINT, spend_window VARCHAR(16), requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, updated_at DOUBLE DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_api_keys_digest UNIQUE (digest)
);
INSERT INTO "api_keys" VALUES('key_Le5SNp5xSqQkTDaEFxdmy','acc_qUj2AEVXewav039jyZRAx','first key','tw_3RqOmwCXa',X'A763BC9ABEE92AF8AF4F53222C675E9BCBF7A61C1469EBD28CB18F00711408AD',1,1.7959731547957320213e+09,NULL,NULL,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.7959731547957320213e+09);
INSERT INTO "api_keys" VALUES('key_KQFKPoLlH6Qh1O5FsNHvR','acc_qUj2AEVXewav039jyZRAx','older','tw_m8wyL0hzn',X'E719FF75C6D5B3F3EA9E6605F0BB61334075587A139E5061E1DCD80895C56AD7',1,1.79597315545607113832e+09,NULL,1.79597315564793801306e+09,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79597315545607113832e+09);
CREATE TABLE balances (
	account_id VARCHAR(32) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	entries BIGINT NOT NULL, 
	head BLOB NOT NULL, 
	CONSTRAINT pk_balances PRIMARY KEY (account_id), 
	CONSTRAINT ck_balances_ck_balances_held_not_negative CHECK (held >= 0), 
	CONSTRAINT ck_balances_ck_balances_not_overdrawn CHECK (posted >= held), 
	CONSTRAINT fk_balances_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
)
 WITHOUT ROWID

;
INSERT INTO "balances" VALUES('acc_qUj2AEVXewav039jyZRAx',9998692,4368,20,X'442EA0B5BD7BEFDFE35AD1DDB6AEDE5D2D1D3C6BE5D2AB9EE229401234C6B2EE');
CREATE TABLE holds (
	request_id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	node_id VARCHAR(32) NOT NULL, 
	credits BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	spend_window BIGINT, 
	CONSTRAINT pk_holds PRIMARY KEY (request_id)
)
 WITHOUT ROWID

;
INSERT INTO "holds" VALUES('3A2O2HSz7Xsy7ZHLW2Y2k','acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','node_xEptY8bxJAIfw1iK',4368,1.79597316387121796609e+09,NULL);
CREATE TABLE idempotency (
	account_id VARCHAR(32) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_hash BLOB NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	answer BLOB, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (account_id, "key")
)
 WITHOUT ROWID

;
CREATE TABLE installation (
	name VARCHAR(32) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_installation PRIMARY KEY (name)
);
INSERT INTO "installation" VALUES('secret_fingerprint','680657ea6b3eed3d6f6a7ce2ea39236935bee3e945423c80092cb7edfe2b56d3');
CREATE TABLE key_spend (
	key_id VARCHAR(32) NOT NULL, 
	starts_at BIGINT NOT NULL, 
	spent BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	CONSTRAINT pk_key_spend PRIMARY KEY (key_id, starts_at)
)
 WITHOUT ROWID

;
CREATE TABLE latency_counts (
	account_id VARCHAR(32) NOT NULL, 
	span INTEGER NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	bucket BIGINT NOT NULL, 
	measure VARCHAR(12) NOT NULL, 
	size INTEGER NOT NULL, 
	requests BIGINT NOT NULL, 
	CONSTRAINT pk_latency_counts PRIMARY KEY (account_id, span, model, bucket, measure, size)
)
 WITHOUT ROWID

;
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'*',1795971600,'duration',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'*',1795971600,'duration',8,1);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'*',1795971600,'first_token',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'*',1795971600,'first_token',6,1);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'house/scripted',1795971600,'duration',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'house/scripted',1795971600,'duration',8,1);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'house/scripted',1795971600,'first_token',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',3600,'house/scripted',1795971600,'first_token',6,1);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'*',1795910400,'duration',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'*',1795910400,'duration',8,1);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'*',1795910400,'first_token',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'*',1795910400,'first_token',6,1);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'house/scripted',1795910400,'duration',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'house/scripted',1795910400,'duration',8,1);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'house/scripted',1795910400,'first_token',0,5);
INSERT INTO "latency_counts" VALUES('acc_qUj2AEVXewav039jyZRAx',86400,'house/scripted',1795910400,'first_token',6,1);
CREATE TABLE ledger_entries (
	account_id VARCHAR(32) NOT NULL, 
	number BIGINT NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	key_id VARCHAR(32), 
	model VARCHAR(200), 
	reference VARCHAR(64), 
	price_version VARCHAR(16), 
	note VARCHAR(200), 
	hash BLOB NOT NULL, 
	CONSTRAINT pk_ledger_entries PRIMARY KEY (account_id, number), 
	CONSTRAINT uq_ledger_entries_request_id_kind UNIQUE (request_id, kind)
)
 WITHOUT ROWID

;
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',1,'grant','first_grant_acc_qUj2AEVXewav039jyZRAx',10000000,0,0,1.79597315483255100254e+09,NULL,NULL,'init',NULL,NULL,X'EF9606BAF21B174BCC180641FA3B245A2ECDEBE0D22A047F31B6B07A1062A960');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',2,'hold','3A2O24CFp5BsRJ7Cbx0Ff',0,4334,0,1.79597315565312147141e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'953C6E43FF10E1D60527BA3F6C0F936F2F82B751D9586B2F771E54C3A9680AF5');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',3,'settle','3A2O24CFp5BsRJ7Cbx0Ff',-206,-4334,0,1.79597315565920352935e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24DQwRJxa9haoYNKg','0a4d8b9c302928ae',NULL,X'881559A76D1DF3A3820D53BC284EA738073BFCBCD3E180D8F73D999FB3D20541');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',4,'hold','3A2O24EQ88tLjebUZwAQy',0,4332,0,1.79597315567287659646e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'83CA1753CDA75FEA4FE93B1A6D4D094759FC5C78DCC65E1EC82792D8FC2221CC');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',5,'settle','3A2O24EQ88tLjebUZwAQy',-208,-4332,0,1.79597315567552733416e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24FCfYMTDK5VpaEdB','0a4d8b9c302928ae',NULL,X'899B56D3702128C365C1F09E5164967A73B8182815AC6188B769780FD2081F14');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',6,'hold','3A2O24Gg2rejI3XzIuNaz',0,4334,0,1.79597315568961691861e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'19D29651B95BED5FAC868111F25F48D8375D6EEA1E25085D4D9585714927A631');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',7,'settle','3A2O24Gg2rejI3XzIuNaz',-210,-4334,0,1.79597315569134068492e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24GWbwsy4DEVmhDRA','0a4d8b9c302928ae',NULL,X'B3E0E4B3305FED4A268A287C15BF7E771C89C3B8E4D0E52D899C7341184BE006');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',8,'hold','3A2O24H1kpfjIjCm5K8tW',0,4332,0,1.79597315569359421722e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'4201640807AEB15968975296B99ABAB0962AAE822B8E18AAD397CB1EF8E0D653');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',9,'settle','3A2O24H1kpfjIjCm5K8tW',-212,-4332,0,1.79597315569505476952e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24HLu4QAymfg6NIXR','0a4d8b9c302928ae',NULL,X'677E8F067747B57A21513F962FED86831CD3038395C6CE687DE3110B7E01B616');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',10,'hold','3A2O24HVJMT0WymICNEof',0,4334,0,1.79597315569677901266e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'0605F70C2B37E479AFD3DE31EDE5AE20F9667A770FBD65E01A00994D5C6945CF');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',11,'settle','3A2O24HVJMT0WymICNEof',-214,-4334,0,1.79597315569785571098e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24Hkb9JpNYG5VbFyu','0a4d8b9c302928ae',NULL,X'39AACFAB9F37113D689E7E5F29E77DBD7F9D110FDE8B67E812BFE691A240B975');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',12,'hold','3A2O24HZiHaoZoU6VxFcF',0,4332,0,1.79597315569955682753e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'9682104412FECB54D63F9D52D8452DFB2B296019FBC4B4194D2A9C23E3F27058');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',13,'settle','3A2O24HZiHaoZoU6VxFcF',-216,-4332,0,1.79597315570126938818e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24H98YIlEMRgeDJyZ','0a4d8b9c302928ae',NULL,X'E8BD2346A04E6FE6355E307DA7894A2597922079CA3FEA68E3E908C507B2D4D1');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',14,'hold','3A2O24ImOyoIlKAXbkFBq',0,4314,0,1.79597315570533347132e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'FC991886ABDEE80F7F82D4D35EE8FDA0B491591FCC09524F822EADA137995F5D');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',15,'release','3A2O24ImOyoIlKAXbkFBq',0,-4314,0,1.7959731557067894936e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24I6qsMRoxlqdgIYb','0a4d8b9c302928ae',NULL,X'E46734FBFFBD6E0301632554E66AB15C25AF7343B49260B44B9F5415F3E1B77D');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',16,'hold','3A2O24ImOsGAvVzO44pEU',0,4376,0,1.79597315570895814896e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'1D8225E121900331EA7E00A1130B8D1A76118DAAAF1B0DFD0624532A9403B06E');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',17,'release','3A2O24ImOsGAvVzO44pEU',0,-4376,50,1.79597315571054434776e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24I2XdB9b7XMup17x','0a4d8b9c302928ae',NULL,X'C4BBF4A4E787D3830FCEE8446A39388B2F362F53D93A5F635F9F111DE40B0327');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',18,'hold','3A2O24JxEjVZXVYJCrqyL',0,4370,0,1.79597315571210122114e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'1CCEEDA25B382901081857D997A8AFA62A06A11904BE83AEDCBF03AB0CA9AB98');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',19,'settle','3A2O24JxEjVZXVYJCrqyL',-42,-4370,0,1.79597315586688852312e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted','3A2O24JluC6EcebvFGVxs','0a4d8b9c302928ae',NULL,X'4B36F1115F9158DF3F3E5AF655E4E98DBBF74F5940AAD63C0A29FB0D67ED9723');
INSERT INTO "ledger_entries" VALUES('acc_qUj2AEVXewav039jyZRAx',20,'hold','3A2O2HSz7Xsy7ZHLW2Y2k',0,4368,0,1.79597316387121796609e+09,'key_KQFKPoLlH6Qh1O5FsNHvR','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'442EA0B5BD7BEFDFE35AD1DDB6AEDE5D2D1D3C6BE5D2AB9EE229401234C6B2EE');
CREATE TABLE links (
	digest BLOB NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	account_id VARCHAR(32), 
	role VARCHAR(16) NOT NULL, 
	user_id VARCHAR(32), 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	CONSTRAINT pk_links PRIMARY KEY (digest), 
	CONSTRAINT fk_links_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_links_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "links" VALUES(X'8B09E3516082DB47A650356DA482E544823F3EDF76EDFEA8F7A481A84F0957C4','first_owner',NULL,'owner',NULL,1.79597315484586977961e+09,1.79605955484497380259e+09);
CREATE TABLE login_tries (
	subject VARCHAR(64) NOT NULL, 
	began_at DOUBLE NOT NULL, 
	tries BIGINT NOT NULL, 
	CONSTRAINT pk_login_tries PRIMARY KEY (subject)
);
CREATE TABLE nodes (
	id VARCHAR(32) NOT NULL, 
	beat_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nodes PRIMARY KEY (id)
);
INSERT INTO "nodes" VALUES('node_xEptY8bxJAIfw1iK',1.79597316492558884619e+09);
CREATE TABLE prices (
	version VARCHAR(16) NOT NULL, 
	terms TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_prices PRIMARY KEY (version)
);
INSERT INTO "prices" VALUES('0a4d8b9c302928ae','{"markup_millionths":1000000,"price":{"audio_prompt":"1","cached_prompt":"1","completion":"1","prompt":"1"}}',1.7959731549152002334e+09);
CREATE TABLE rates (
	subject VARCHAR(32) NOT NULL, 
	unit VARCHAR(10) NOT NULL, 
	full_at DOUBLE NOT NULL, 
	CONSTRAINT pk_rates PRIMARY KEY (subject, unit)
)
 WITHOUT ROWID

;
CREATE TABLE read_until (
	reader VARCHAR(20) NOT NULL, 
	id BIGINT NOT NULL, 
	CONSTRAINT pk_read_until PRIMARY KEY (reader)
)
 WITHOUT ROWID

;
INSERT INTO "read_until" VALUES('latency',9);
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	inference_id VARCHAR(64) NOT NULL, 
	client_request_id VARCHAR(128), 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	origin VARCHAR(10) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	answered_by VARCHAR(200) NOT NULL, 
	route VARCHAR(200) NOT NULL, 
	attempts INTEGER NOT NULL, 
	stream BOOLEAN NOT NULL, 
	status VARCHAR(10) NOT NULL, 
	finish_reason VARCHAR(20), 
	error_code VARCHAR(64), 
	prompt_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	price_version VARCHAR(16) NOT NULL, 
	flags VARCHAR(200), 
	created_at DOUBLE NOT NULL, 
	first_token_ms INTEGER, 
	duration_ms INTEGER NOT NULL, 
	CONSTRAINT pk_requests PRIMARY KEY (id), 
	CONSTRAINT uq_requests_request_id UNIQUE (request_id)
);
INSERT INTO "requests" VALUES(1,'3A2O24CFp5BsRJ7Cbx0Ff','3A2O24DQwRJxa9haoYNKg',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,3,0,4334,206,0,'0a4d8b9c302928ae',NULL,1.79597315565422368044e+09,3,4);
INSERT INTO "requests" VALUES(2,'3A2O24EQ88tLjebUZwAQy','3A2O24FCfYMTDK5VpaEdB',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,4,0,4332,208,0,'0a4d8b9c302928ae',NULL,1795973155.67326,1,1);
INSERT INTO "requests" VALUES(3,'3A2O24Gg2rejI3XzIuNaz','3A2O24GWbwsy4DEVmhDRA',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,5,0,4334,210,0,'0a4d8b9c302928ae',NULL,1.79597315568988490108e+09,1,1);
INSERT INTO "requests" VALUES(4,'3A2O24H1kpfjIjCm5K8tW','3A2O24HLu4QAymfg6NIXR',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,6,0,4332,212,0,'0a4d8b9c302928ae',NULL,1.795973155693769455e+09,1,1);
INSERT INTO "requests" VALUES(5,'3A2O24HVJMT0WymICNEof','3A2O24Hkb9JpNYG5VbFyu',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,7,0,4334,214,0,'0a4d8b9c302928ae',NULL,1.79597315569694066048e+09,1,1);
INSERT INTO "requests" VALUES(6,'3A2O24HZiHaoZoU6VxFcF','3A2O24H98YIlEMRgeDJyZ',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,8,0,4332,216,0,'0a4d8b9c302928ae',NULL,1.79597315569972920418e+09,1,1);
INSERT INTO "requests" VALUES(7,'3A2O24ImOyoIlKAXbkFBq','3A2O24I6qsMRoxlqdgIYb',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,0,'failed',NULL,'upstream_error',29,0,0,0,4314,0,0,'0a4d8b9c302928ae',NULL,1.79597315570551300046e+09,NULL,1);
INSERT INTO "requests" VALUES(8,'3A2O24ImOsGAvVzO44pEU','3A2O24I2XdB9b7XMup17x',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,1,'failed',NULL,'upstream_error',18,0,7,0,4376,0,50,'0a4d8b9c302928ae',NULL,1.7959731557091350555e+09,1,1);
INSERT INTO "requests" VALUES(9,'3A2O24JxEjVZXVYJCrqyL','3A2O24JluC6EcebvFGVxs',NULL,'acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR','api','house/scripted','house/scripted','scripted/fake-model',1,1,'cancelled',NULL,NULL,17,0,4,0,4370,42,0,'0a4d8b9c302928ae',NULL,1.795973155712272644e+09,51,154);
CREATE TABLE sessions (
	digest BLOB NOT NULL, 
	user_id VARCHAR(32) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (digest), 
	CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE TABLE usage_buckets (
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	span INTEGER NOT NULL, 
	bucket BIGINT NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	requests BIGINT NOT NULL, 
	charged BIGINT NOT NULL, 
	succeeded BIGINT NOT NULL, 
	failed BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	CONSTRAINT pk_usage_buckets PRIMARY KEY (account_id, key_id, span, bucket, model)
)
 WITHOUT ROWID

;
INSERT INTO "usage_buckets" VALUES('acc_qUj2AEVXewav039jyZRAx','*',900,1795972500,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_qUj2AEVXewav039jyZRAx','*',3600,1795971600,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_qUj2AEVXewav039jyZRAx','*',86400,1795910400,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR',900,1795972500,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR',3600,1795971600,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_qUj2AEVXewav039jyZRAx','key_KQFKPoLlH6Qh1O5FsNHvR',86400,1795910400,'house/scripted',9,7,6,2,664,44,1308,50);
CREATE TABLE users (
	id VARCHAR(32) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	email VARCHAR(255) NOT NULL, 
	password_hash VARCHAR(200) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	last_login_at DOUBLE, disabled_at DOUBLE, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT fk_users_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_users_email UNIQUE (email)
);
CREATE INDEX ix_api_keys_account_id ON api_keys (account_id);
CREATE INDEX ix_api_keys_prefix ON api_keys (prefix);
CREATE UNIQUE INDEX uq_api_keys_previous_digest ON api_keys (previous_digest);
CREATE UNIQUE INDEX uq_api_keys_account_id_name ON api_keys (account_id, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_holds_account_id ON holds (account_id);
CREATE INDEX ix_ledger_entries_by_hand ON ledger_entries (account_id, at, number) WHERE kind IN ('grant', 'refund', 'adjustment');
CREATE INDEX ix_ledger_entries_transactions ON ledger_entries (account_id, at, number) WHERE posted <> 0;
CREATE INDEX ix_idempotency_at ON idempotency (at);
CREATE INDEX ix_requests_client_request_id ON requests (client_request_id) WHERE client_request_id IS NOT NULL;
CREATE INDEX ix_requests_inference_id ON requests (inference_id);
CREATE INDEX ix_users_account_id ON users (account_id);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_login_tries_began_at ON login_tries (began_at);
CREATE INDEX ix_requests_account_id ON requests (account_id, created_at, id);
CREATE INDEX ix_requests_key_id ON requests (key_id, created_at, id);
CREATE INDEX ix_requests_model ON requests (account_id, model, created_at, id);
CREATE INDEX ix_requests_no_success ON requests (account_id, created_at, id) WHERE status <> 'succeeded';
CREATE INDEX ix_ledger_entries_by_key ON ledger_entries (key_id, at, number) WHERE posted <> 0;
COMMIT;
