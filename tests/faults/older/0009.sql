-- Left by a Tollway of schema 0009 that was killed in the middle of an answer.
-- api_key tw_DyWTTg9PztOML7bzJe2fXByNvHjL6h1ZEkTH
-- secret.key YWViZjg3ZWU1MTM4NmMyZWJjNjkxNDdhOTlkNTcyMTlhMzQyMWI2ZTllNzA3Yjc3YWE5YzRhNTI1ZjdmYzc5Ygo=
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at DOUBLE NOT NULL, updated_at DOUBLE DEFAULT 0 NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, low_balance_credits BIGINT DEFAULT 10000 NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id), 
	CONSTRAINT uq_accounts_name UNIQUE (name)
);
INSERT INTO "accounts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT','owner',1.79597316993512558938e+09,1.79597316993512558938e+09,NULL,NULL,NULL,10000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0009');
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
INSERT INTO "api_keys" VALUES('key_63kwNbz2sKbiR0ulUaoNp','acc_zjPBLdjdspiSjYdx4oCmT','first key','tw_sXB1Yiy1K',X'754899355D2243999D553F9E091727CAF11169CA5C498BD4232C21A6EEE28368',1,1.7959731699374957085e+09,NULL,NULL,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.7959731699374957085e+09);
INSERT INTO "api_keys" VALUES('key_oamcZ3Oz9vksCli6DGNBi','acc_zjPBLdjdspiSjYdx4oCmT','older','tw_DyWTTg9Pz',X'F110789551EDD0B938A4230204AB1D70E1F644C7049FBAACA15AC48BB9A449BC',1,1.79597317208306550984e+09,NULL,1.79597317250021982189e+09,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79597317208306550984e+09);
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
INSERT INTO "balances" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',9998692,4368,20,X'53464668CAC33F9E44890A8559BA190EB5FE78A7E14CB47B1C62639A4AFF1ECA');
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
INSERT INTO "holds" VALUES('3A2O2iiyDlj980zff85LI','acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','node_0sbvJW7YggZAxLqQ',4368,1.79597318076736879349e+09,NULL);
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
INSERT INTO "installation" VALUES('secret_fingerprint','99840e83b31174512eb6a8040d8798fffbd84717e83c1e536873cd99463ef897');
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
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'*',1795971600,'duration',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'*',1795971600,'duration',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'*',1795971600,'duration',13,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'*',1795971600,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'*',1795971600,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'*',1795971600,'first_token',12,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'house/scripted',1795971600,'duration',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'house/scripted',1795971600,'duration',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'house/scripted',1795971600,'duration',13,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'house/scripted',1795971600,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'house/scripted',1795971600,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3600,'house/scripted',1795971600,'first_token',12,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'*',1795910400,'duration',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'*',1795910400,'duration',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'*',1795910400,'duration',13,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'*',1795910400,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'*',1795910400,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'*',1795910400,'first_token',12,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'house/scripted',1795910400,'duration',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'house/scripted',1795910400,'duration',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'house/scripted',1795910400,'duration',13,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'house/scripted',1795910400,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'house/scripted',1795910400,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',86400,'house/scripted',1795910400,'first_token',12,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'*',1795392000,'duration',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'*',1795392000,'duration',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'*',1795392000,'duration',13,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'*',1795392000,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'*',1795392000,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'*',1795392000,'first_token',12,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'house/scripted',1795392000,'duration',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'house/scripted',1795392000,'duration',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'house/scripted',1795392000,'duration',13,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'house/scripted',1795392000,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'house/scripted',1795392000,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',864000,'house/scripted',1795392000,'first_token',12,1);
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
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',1,'grant','first_grant_acc_zjPBLdjdspiSjYdx4oCmT',10000000,0,0,1.79597316995196485517e+09,NULL,NULL,'init',NULL,NULL,X'B4C26E3FBB6363AAABC532949F891AF2A12B99C9E306129B22B6E4BB905FA60B');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',2,'hold','3A2O2VNfD3lX4t7ikoGhl',0,4334,0,1.79597317250270342822e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'AFCF91C486DE8515A76613EA8EE5742E90A2ABFC370F302C8E6D629124AD6ED9');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',3,'settle','3A2O2VNfD3lX4t7ikoGhl',-206,-4334,0,1.79597317250754332537e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VOULCBB8MLtZpO8Z','0a4d8b9c302928ae',NULL,X'1EB333692DA90B2A2256F43414F49E0C46AE165EC38651EE7DD92A1D795627FE');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',4,'hold','3A2O2VP377BO7IaPR7GC6',0,4332,0,1.79597317251451206203e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'606342C00B4310DFE0F10A5CE3D99D3A10DE950276CEB34A31B696D3766273DF');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',5,'settle','3A2O2VP377BO7IaPR7GC6',-208,-4332,0,1.79597317251667761795e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VPRnB0Os53mCgku2','0a4d8b9c302928ae',NULL,X'4860BB0A7DBD0FF75F5DA1FECBBD0FDAEDB3D069F8D4E8B14D1EDC99E04B2309');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',6,'hold','3A2O2VPHcPFvcvry1KaGf',0,4334,0,1.79597317251874852173e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'81914027662F0BC0DE247B61DB2765EA40B4405FFE8F6BAD74E5FD82CAFC3CD3');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',7,'settle','3A2O2VPHcPFvcvry1KaGf',-210,-4334,0,1.79597317252022886276e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VPD6mB5v4LsTlZKw','0a4d8b9c302928ae',NULL,X'315FDCD3E51B3E07A566ECAAF20E96C6751DAF789D7D03D0018216DCCFFBE247');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',8,'hold','3A2O2VQ2SgBLiGAItQQgf',0,4332,0,1.79597317253034234043e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'9EF0233FF3A66226D30514F2A57D13A6407A05F0390E901709A0077027CCA4B2');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',9,'settle','3A2O2VQ2SgBLiGAItQQgf',-212,-4332,0,1.79597317253261470797e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VRsboLwg6wRVFQ5y','0a4d8b9c302928ae',NULL,X'CCE144A3C2FC536C8FB2BB49559A0A1F2A321677F101C6BB0A20D6CC319B3A4A');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',10,'hold','3A2O2VRvgNDjbe8onuGvQ',0,4334,0,1.79597317253845047951e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'DC16FDA3BAFB075A49761D0A90794AA90BE49539AB641E5061F99A1C2ED22220');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',11,'settle','3A2O2VRvgNDjbe8onuGvQ',-214,-4334,0,1.79597317254002046583e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VRmKZQ4om4pRqf0U','0a4d8b9c302928ae',NULL,X'311049D145F175E6B370222150A508027D6588B21AFC50E9152E9A9AB6DC4953');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',12,'hold','3A2O2VSLzl42sS9qQwx5X',0,4332,0,1.79597317254904270166e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'8B3A6BE8F4B859791174FD36D2EB849D8ACF7F9903F6A68740F6D77DEBB4E845');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',13,'settle','3A2O2VSLzl42sS9qQwx5X',-216,-4332,0,1.79597317255947184566e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VSS4X7SicP15n9oI','0a4d8b9c302928ae',NULL,X'920DE09B2D335918E29DC0117DF138D9246F9DC893581D496F0BE61D1D719A5A');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',14,'hold','3A2O2VUQmyuY9AxGTqdvT',0,4314,0,1.79597317256670212749e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'4EB5D7481E537FEAE2FA40009803E12E8326C8D8B621FCAD8ECA674C486B66CC');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',15,'release','3A2O2VUQmyuY9AxGTqdvT',0,-4314,0,1.79597317257010197634e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VUepu5TGLIMfW1kG','0a4d8b9c302928ae',NULL,X'A29570957FBE85BEFA7A1AB93285740C81BEDDFCA4A3155143CC5F0ABE23E067');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',16,'hold','3A2O2VV5pUYj2icUSvgFG',0,4376,0,1.79597317257499432567e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'81897678BFEF177560811E41C60737EECF37920A13B02211E4EA58E51C6E1F33');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',17,'release','3A2O2VV5pUYj2icUSvgFG',0,-4376,50,1.79597317257975983622e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VVEK2jJ7BDkDmIKu','0a4d8b9c302928ae',NULL,X'67C5D4CB680A5A67E903918E6AA6851AD1CAA7C0A99C6465010094911140FFD5');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',18,'hold','3A2O2VW9ZYqt3pcXDqpEO',0,4370,0,1.79597317258653950693e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'A1ECAEED99F00C1A0B1C61F948B61EEED955234CF26D27A27BB7194332E3BE3C');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',19,'settle','3A2O2VW9ZYqt3pcXDqpEO',-42,-4370,0,1.7959731727594733238e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted','3A2O2VWkGzn5hbR0f9aNL','0a4d8b9c302928ae',NULL,X'F30424D52D96D735097E767F44B0AADFBC9D7B9CC5D8FB30336B7D4067CA3B57');
INSERT INTO "ledger_entries" VALUES('acc_zjPBLdjdspiSjYdx4oCmT',20,'hold','3A2O2iiyDlj980zff85LI',0,4368,0,1.79597318076736879349e+09,'key_oamcZ3Oz9vksCli6DGNBi','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'53464668CAC33F9E44890A8559BA190EB5FE78A7E14CB47B1C62639A4AFF1ECA');
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
INSERT INTO "links" VALUES(X'EC8B62F13958DBA59C83D706ADB378A3DF86B545FDBA46B2D05020BC122B84BF','first_owner',NULL,'owner',NULL,1.79597316995756220818e+09,1.79605956995684504511e+09);
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
INSERT INTO "nodes" VALUES('node_0sbvJW7YggZAxLqQ',1795973180.29431);
CREATE TABLE prices (
	version VARCHAR(16) NOT NULL, 
	terms TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_prices PRIMARY KEY (version)
);
INSERT INTO "prices" VALUES('0a4d8b9c302928ae','{"markup_millionths":1000000,"price":{"audio_prompt":"1","cached_prompt":"1","completion":"1","prompt":"1"}}',1.79597317011346697805e+09);
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
INSERT INTO "requests" VALUES(1,'3A2O2VNfD3lX4t7ikoGhl','3A2O2VOULCBB8MLtZpO8Z',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,3,0,4334,206,0,'0a4d8b9c302928ae',NULL,1.7959731725037224293e+09,2,2);
INSERT INTO "requests" VALUES(2,'3A2O2VP377BO7IaPR7GC6','3A2O2VPRnB0Os53mCgku2',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,4,0,4332,208,0,'0a4d8b9c302928ae',NULL,1.79597317251482129093e+09,1,1);
INSERT INTO "requests" VALUES(3,'3A2O2VPHcPFvcvry1KaGf','3A2O2VPD6mB5v4LsTlZKw',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,5,0,4334,210,0,'0a4d8b9c302928ae',NULL,1.79597317251895451551e+09,1,1);
INSERT INTO "requests" VALUES(4,'3A2O2VQ2SgBLiGAItQQgf','3A2O2VRsboLwg6wRVFQ5y',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,6,0,4332,212,0,'0a4d8b9c302928ae',NULL,1.79597317253061246875e+09,1,1);
INSERT INTO "requests" VALUES(5,'3A2O2VRvgNDjbe8onuGvQ','3A2O2VRmKZQ4om4pRqf0U',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,7,0,4334,214,0,'0a4d8b9c302928ae',NULL,1.79597317253868913643e+09,1,1);
INSERT INTO "requests" VALUES(6,'3A2O2VSLzl42sS9qQwx5X','3A2O2VSS4X7SicP15n9oI',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,8,0,4332,216,0,'0a4d8b9c302928ae',NULL,1.79597317254927563668e+09,9,10);
INSERT INTO "requests" VALUES(7,'3A2O2VUQmyuY9AxGTqdvT','3A2O2VUepu5TGLIMfW1kG',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,0,'failed',NULL,'upstream_error',29,0,0,0,4314,0,0,'0a4d8b9c302928ae',NULL,1.79597317256696748736e+09,NULL,3);
INSERT INTO "requests" VALUES(8,'3A2O2VV5pUYj2icUSvgFG','3A2O2VVEK2jJ7BDkDmIKu',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,1,'failed',NULL,'upstream_error',18,0,7,0,4376,0,50,'0a4d8b9c302928ae',NULL,1.79597317257526302341e+09,3,4);
INSERT INTO "requests" VALUES(9,'3A2O2VW9ZYqt3pcXDqpEO','3A2O2VWkGzn5hbR0f9aNL',NULL,'acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi','api','house/scripted','house/scripted','scripted/fake-model',1,1,'cancelled',NULL,NULL,17,0,4,0,4370,42,0,'0a4d8b9c302928ae',NULL,1.79597317258679318435e+09,54,172);
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
INSERT INTO "usage_buckets" VALUES('acc_zjPBLdjdspiSjYdx4oCmT','*',900,1795972500,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_zjPBLdjdspiSjYdx4oCmT','*',3600,1795971600,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_zjPBLdjdspiSjYdx4oCmT','*',86400,1795910400,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi',900,1795972500,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi',3600,1795971600,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_zjPBLdjdspiSjYdx4oCmT','key_oamcZ3Oz9vksCli6DGNBi',86400,1795910400,'house/scripted',9,7,6,2,664,44,1308,50);
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
CREATE INDEX ix_ledger_entries_by_key ON ledger_entries (key_id, at, number) WHERE posted <> 0;
CREATE INDEX ix_requests_no_success ON requests (account_id, status, created_at, id, model, key_id) WHERE status <> 'succeeded';
COMMIT;
